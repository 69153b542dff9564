"""XML read in bounded memory: no entities, no files of the size of a disk, no trees of millions of elements."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ..core.errors import DataError

MOST_BYTES = 64 << 20
MOST_ELEMENTS = 1_000_000


def read_xml(path: Path) -> Element:
    """The root of an XML file, tags without namespaces; an entity declaration is refused, whatever it holds."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"{path}: {size >> 20} MiB; expected at most {MOST_BYTES >> 20} MiB for a file of ink")
    builder, count = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def start(tag, attributes):
        nonlocal count
        count += 1
        if count > MOST_ELEMENTS:
            raise DataError(f"{path}: more than {MOST_ELEMENTS:,} elements; expected one line of ink in a file")
        builder.start(tag.rpartition(":")[2], {key.rpartition(":")[2]: value for key, value in attributes.items()})

    def entity(name, *rest):
        raise DataError(f"{path}: declares an XML entity ('{name}'); files of ink need none, so this one is refused")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: builder.end(tag.rpartition(":")[2])
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = entity
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
        return builder.close()
    except expat.ExpatError as error:
        raise DataError(f"{path}: not well-formed XML ({error})") from None
