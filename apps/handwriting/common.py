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
shouldn't don't didn't can't won't it's he's I'm I've you're that's wasn't couldn't there's let's wouldn't isn't
"""
WORDS = tuple(dict.fromkeys(_TEXT.split()))
