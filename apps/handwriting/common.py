"""Common English words, the commonest first, for the generator to write beside those of its text."""

_TEXT = """
the of and to in a that is was he it for as with on his be at by had not are but from or have an they which one you
were all her she there would their we him been has when who will no more if out so said what up its about than into
them can only other time new some could these two may first then do any like my now over such our man me even most made
after also did many off before must well back through years much where your way down should because long each just
state people those too little very good day world still own see men work life being here between both under last never
same another know while might us great old year come since against go came right used take three himself few house use
during without again place around however home small found thought went say part once general high upon school every
does got united left number course war until always away something fact though less put water think almost hand enough
far took head yet government system set better told nothing night end why called eyes find going look asked later knew
point next city business give group toward young days let room president side social given present several order second
per face rather possible among early form important often things looked large church best case big four become need
along feel until least power seemed want development light interest area members mind country felt means god family
others example turned whole open problem service done kind began different door sense within thing line half certain
public history known gave full behind having matter words name itself human themselves death line sure body true local
taken white free real cost show special either age past change action together office job political five quite keep
whether across money question anything seen clear close moment woman live play making English society mother near
women children already boy girl child perhaps ago words front morning bring although feet close figure believe six
tell night nature road view town seems north south east west front land above act able table felt voice heard held
stood turn stop answer return began become brought letter spring summer winter month week minute hour hard cold hot
art cut air car king queen lord lady party union labour minister prime foreign secretary commonwealth house member vote
court law trade market price share company industry production policy report meeting council committee conference
statement speech talks nations african british american french german london england paris europe yesterday today
tomorrow tonight monday tuesday wednesday thursday friday saturday sunday january february march april may june july
august september october november december mr mrs miss sir dr father brother sister son daughter wife husband friend
doctor teacher student book page story paper news music film picture colour red green blue black brown garden tree
river sea ship boat train horse dog cat bird fish food bread tea coffee milk wine beer dinner lunch breakfast kitchen
bed chair window wall floor roof street village hill field wood stone gold silver iron glass cloth dress coat hat shoe
hair mouth nose ear neck arm finger leg foot heart blood pain illness health hospital medicine love hope fear anger joy
happy sad tired strong weak rich poor beautiful easy difficult simple strange quiet quick slow dark bright deep wide
narrow short tall thick thin heavy warm fresh dry wet clean empty full ready late soon ever else indeed therefore
whose whom itself myself yourself nobody everyone everything somebody anyone wherever whenever unless except despite
according above below beside beyond inside outside towards throughout became become begin begun break broken build
built buy bought catch caught choose chosen cry cried decide decided die died draw drawn drive drove driven eat ate
eaten fall fallen feed fight fought fill fly flew follow forget forgotten forgive get grow grew grown happen happened
hear help hide hidden hit hope hurt join jump kept kill kiss knock laugh laughed lead led learn learnt leave lend lie
lost meet met miss move moved offer offered pass passed pay paid pick please pull push read receive received remain
remember remembered rest ride ring rise rose run rush sat save sell send sent serve shall shook shoot shot shout shut
sing sit sleep slept smile smiled speak spoke spoken spend spent stand start started stay step suppose supposed talk
talked teach taught thank think throw threw touch travel tried try understand understood visit wait waited walk walked
wash watch wear wore win wish wonder wonderful write wrote written wrong yes zero hundred thousand million seven eight
nine ten eleven twelve twenty thirty fifty third fourth fifth half quarter double single pound shilling penny inch mile
abandon ability abroad absence absolute absolutely academic accept acceptable access accident accompany accord account
accurate accuse achieve achievement acid acknowledge acquire act acting active activity actor actress actual actually
add addition additional address adequate adjust administration admire admit adopt adult advance advantage adventure
advertise advice advise affair affect afford afraid afternoon afterwards agency agent agree agreement ahead aid aim
aircraft airport alarm alive allow alone alongside alter alternative amaze ambition amount amuse analysis ancient anger
angle angry animal announce annual anxious anyway apart apartment apparent apparently appeal appear appearance apple
application apply appoint appointment appreciate approach appropriate approval approve argue argument arise armed army
arrange arrangement arrest arrival arrive article artist ashamed aside asleep aspect assembly assist assistance
assistant associate association assume assure atmosphere atom attach attack attempt attend attention attitude attract
attractive audience aunt author authority automatic available average avoid awake award aware awful baby background bag
balance ball band bank bar bare barely base basic basis basket bath battle bear beat beauty bedroom behave behaviour
belief believe bell belong belt bend benefit bill bind birth bishop bit bite bitter blame blind block blow board body
bomb bond bone border born borrow boss bottle bottom bound bowl box brain branch brave breath breathe brick bridge brief
bring broad brush budget burden burn bus bush busy butter button cabinet cable cake calculate camera camp campaign
candidate capable capacity capital captain capture card care career careful carefully carriage cash castle cathedral
cattle cease ceiling cell central centre century ceremony chain chairman challenge chamber chance channel chapter
character charge charm chase cheap check cheek cheerful cheese chemical chest chief chicken childhood choice christian
christmas cigarette circle circumstances citizen civil claim class classic classical clay clearly clerk clever client
climate climb clock club coal coast code coin collapse collar colleague collect collection college column combine
comedy comfort comfortable command comment commercial commission commit common communist communication community
companion compare comparison compete competition complain complaint complete completely complex complicate compose
concentrate concept concern concert conclude conclusion condition conduct confess confidence confident confirm conflict
confuse congress connect connection conscious consequence conservative consider considerable consideration consist
constant constitution construction contact contain contemporary content contest continent continue contract contrary
contrast contribute contribution convention conversation convince cook cool copper copy corn corner correct cotton
cough count countryside county couple courage course cousin cover cow crack craft crash cream create creature credit
crew crime criminal crisis critic critical criticism crop cross crowd crown cruel culture cup cupboard cure curious
curtain curve custom customer cycle daily damage damp dance danger dangerous dare data date dawn deaf deal debate debt
decade decent decision declare decline decorate decrease deeply defeat defence defend define definite definition degree
delay delegate delicate delight deliver delivery demand democracy democratic demonstrate deny department depend
dependent deposit depth deputy descend describe description desert deserve design desire desk despair destroy
destruction detail detailed detect determine device devil devote diet differ digital dignity direct direction directly
director dirt dirty disagree disappear disappoint disaster discipline discover discovery discuss discussion disease
dish dismiss display dispute distance distant distinct distinction distinguish distribute district disturb divide
division divorce document dollar domestic dominate doubt downstairs dozen draft drama dramatic dream drift drink drop
drug drum dust duty eager early earn earnest earth ease easily eastern economic economy edge edition editor educate
education effect effective efficiency efficient effort egg elaborate elect election electric electricity electronic
element eliminate elsewhere emerge emergency emotion emotional emperor emphasis empire employ employee employer
employment enable encounter encourage enemy energy engage engine engineer enormous ensure enter enterprise entertain
enthusiasm entire entirely entitle entrance entry envelope environment equal equally equipment error escape especially
essay essential establish establishment estate estimate europe european evening event eventually evidence evident evil
exact exactly examination examine excellent exception excess exchange excite excitement exclude excuse executive
exercise exhibition exist existence expansion expect expectation expense expensive experience experiment expert
explain explanation explode explore export expose express expression extend extension extensive extent external
extra extraordinary extreme extremely eye facility factor factory faculty fade failure faint fair fairly faith faithful
false fame familiar famous fancy farm farmer fashion fast fat fate fault favour favourite feature federal fellow female
fence fetch fever field fierce finance financial finish firm firmly fit fix flag flame flash flat flavour fleet flesh
flight float flood flow flower fold folk fool foolish football forbid forehead forest formal former formerly fortunate
fortune forty forward foundation frame freedom frequent frequently friendly friendship frighten fruit fuel fully
function fund fundamental funeral funny furniture further future gain gallery gap gas gate gather general generally
generation generous gentle gentleman genuine german gesture gift glad glance global glory goal goat golden goods govern
governor grace grade gradual gradually grain grammar grand grandfather grandmother grant grass grateful grave great
greek grey ground guarantee guard guess guest guide guilt guilty guitar gun habit hall hammer handle hang happiness
harbour hardly harm hate head headline heaven heavily height hell hello helpful hence hero hesitate highly hint hire
historian historic holiday hollow holy honest honour hook horizon horrible host hotel household housing huge humour
hungry hunt hurry ice ideal identify identity ignore ill illegal illustrate image imagination imagine immediate
immediately impact import importance impose impossible impress impression impressive improve improvement incident
incline include income increase increasingly independence independent index indian indicate individual industrial
inevitable influence inform information initial initiative injury inner innocent inquiry insect insist inspect
inspire instance instead institute institution instruction instrument insult insurance intellectual intelligence
intelligent intend intense intention internal international interpret interrupt interval interview introduce
introduction invade invasion invent invention invest investigate investment invitation invite involve irish island
issue item jacket jealous jewel joint joke journal journalist journey judge judgment juice jury justice justify keen
key kid kindly knee knife knowledge lack ladder lake lamp landscape lane language largely laughter launch lawyer layer
lazy leader leadership leading leaf league lean leather leave lecture legal legend leisure length lesson liberal liberty
library licence lift limit limited link lip liquid list listen literary literature load loan local lock logic lonely
loose lord lose loss loud lovely lover lower loyal luck lucky lump luxury machine machinery mad magazine magic mail
main mainly maintain major majority male manage management manager manner manufacture map march margin mark marriage
marry mass massive master match mate material mathematics maximum mayor meal meaning means meanwhile measure measurement
meat mechanical mechanism medical mental mention merchant mercy mere merely mess message metal method middle midnight
mild military mill mine mineral minimum ministry minor minority miracle mirror misery mission mistake mixture mobile
mode model moderate modern modest monkey monthly mood moral moreover motion motive motor mount mountain mouse movement
multiply murder muscle museum musical musician mutual mystery narrative narrowly nasty native natural naturally
naval navy nearby nearly neat necessarily necessary necessity needle neglect negotiate neighbour neighbourhood neither
nerve nervous nest net network neutral newly newspaper nice nineteen nineteenth noble noise none nonsense normal
normally northern notable note notice notion novel nowhere nuclear nurse object objection objective obligation obscure
observation observe obstacle obtain obvious obviously occasion occasional occasionally occupation occupy occur ocean odd
official oil opera operate operation opinion opponent opportunity oppose opposite opposition orange orchestra ordinary
organ organization organize origin original ought ourselves outcome outer output outstanding overcome overseas owe
owner ownership pack package page pain painful paint painter painting pair palace pale panel panic parallel parent
parish park parliament partial participate particular particularly partly partner passage passenger passion passive
patience patient pattern pause peace peaceful peak pencil pension people pepper perceive perfect perfectly perform
performance perhaps period permanent permission permit personal personality persuade phase phenomenon philosophy phone
photograph phrase physical piano pile pilot pipe pitch pity plain plan plane plant plastic plate platform play player
pleasant pleasure plenty plot plus pocket poem poet poetry poison pole police policeman polite politician politics poll
pool pop popular population port portrait pose position positive possess possession possibility possibly post postpone
pot potato potential pour poverty powder powerful practical practice praise pray prayer preach precious precise
precisely prefer preference prejudice preparation prepare presence preserve press pressure pretend pretty prevent
previous previously pride priest primary prince princess principal principle print prior priority prison prisoner
private privilege prize probable procedure proceed proceedings process produce producer product productive profession
professional professor profit programme progress project promise promote proof proper properly property proportion
proposal propose prospect protect protection protest proud prove provide province provision psychological publication
publicity publish publisher punish punishment pupil purchase pure purpose pursue puzzle qualify quality quantity quarrel
quiet quietly quote race radical radio rail railway rain raise range rank rapid rapidly rare rarely rate raw reach
react reaction reader readily reality realize rear reasonable recall recent recently recognition recognize recommend
record recover recovery reduce reduction refer reference reflect reflection reform refuse regard regime region
regional register regret regular regularly regulation reject relate relation relationship relative relatively
release relevant relief relieve religion religious reluctant rely remark remarkable remedy remind remote remove rent
repair repeat replace reply report representative reputation request require requirement rescue research resemble
reserve resident resign resist resistance resolution resolve resort resource respect respond response responsibility
responsible restaurant restore restrict restriction result retain retire retreat reveal revenue reverse review
revolution reward rhythm rice ridiculous rifle rival roar rob rock role roll romantic root rope rough roughly round
route routine row royal rub ruin rule ruler rumour rural russian sacred sacrifice safe safety sail sailor sake salary
sale salt sample sand satisfaction satisfactory satisfy sauce savage scale scarcely scatter scene schedule scheme
scholar science scientific scientist scope score scottish scream screen screw search seat secondary secret section
secure security seek select selection selfish senate senior sensible sensitive sentence separate sequence series serious
seriously servant session setting settle settlement seventh several severe shade shadow shake shall shallow shame
shape sharp sharply shed sheep sheet shelf shell shelter shift shine shirt shock shore shortly shoulder shower sight
sign signal significance significant silence silent silk silly similar similarly simply sin sincere singer single sink
site situation size skill skin skirt sky slave slight slightly slip slope slowly smell smoke smooth snake snow
soap sofa soft softly soil soldier sole solemn solid solution solve somehow sometimes somewhat somewhere song sorry sort
soul sound soup source southern soviet space spare spark speaker special species specific spectacle speed spell sphere
spirit spiritual spite split sport spot spread square staff stage stair stamp standard star stare state station statue
status steady steal steam steel steep stem stick stiff stir stock stomach storage store storm straight strain stranger
strategy stream strength stress stretch strict strictly strike string strip structure struggle student studio stuff
stupid style substance substantial succeed success successful suddenly suffer sufficient sufficiently sugar suggest
suggestion suit suitable sum sunlight supper supply support supreme surely surface surprise surprising surround survey
survival survive suspect suspicion sweet swim swing switch symbol sympathy symptom tail tale talent tank tape target
task taste tax technical technique telephone television temper temperature temple temporary tend tendency tennis tense
tent term terrible territory terror test thanks theatre theme theory thief thorough thoroughly thought threat threaten
throat throne throw thumb thus ticket tide tie tight tin tiny tip title tobacco toe tone tongue tool tooth top topic
total totally touch tough tour tower track trade tradition traditional traffic tragedy trail training transfer transform
transport trap treasure treat treatment treaty tremendous trend trial tribe trick trip troop trouble truck truly trust
truth tube tune twelve twice twist type typical ugly ultimate ultimately unable uncle unemployment unhappy uniform
union unique unit unite united unity universal universe university unknown unlike unlikely unusual upper upset upstairs
urban urge urgent useful usual usually valley valuable value variety various vary vast vegetable vehicle version
vessel victim victory viewpoint violence violent virtue visible vision visitor vital volume voluntary vote voyage wage
wake warn warning waste wave weakness wealth weapon weather wedding weekend weigh weight welcome welfare western
wheel whisper whistle widely widespread wild willing wing winner wipe wire wisdom wise witness worker works worry worse
worship worth worthy wound wrap writer yard yellow yield youth accordingly actions affairs agreed answers areas arms
became becoming believed belonged boys bringing brought buildings called carried cases caused causes changes cities
claims clothes coming companies conditions considered costs countries crossed dealing decisions demands described
details differences difficulties discovered doing dropped due duties effects efforts expected eyes fingers followed
following forces forms friends gained girls giving going governments hands having heads holding houses ideas included
increased interests issues joined kinds laid leaders letters lines lips lives living looking losing making matters
measures meetings members methods ministers months mothers moving names needed needs numbers nurses opened orders
parties passing persons pictures places plans points powers prices problems proved putting questions reached reading
reasons received relations remained reports returned rights rooms rules running saying schools seeing services showed
sides signed sitting sorts spoke standing states stories streets students suggested talking teeth terms things thinking
thoughts times took towns turned turning used values views waiting walked walls wanted waters ways weapons weeks wished
wives wondered words workers working writing years
shouldn't don't didn't can't won't it's he's I'm I've you're that's wasn't couldn't there's let's wouldn't isn't
"""
WORDS = tuple(dict.fromkeys(_TEXT.split()))
