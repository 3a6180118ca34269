"""What ImageJ's plugin Cell Counter saves."""

from xml.etree import ElementTree

from cellzoo.data.points import Point
from cellzoo.labelling.dotted import Dotted
from cellzoo.labelling.label_file import LabelFile, Labelled, Surroundings, grouped


def recognises(file: LabelFile) -> bool:
    """Whether it is an XML of Cell Counter."""
    return b"<CellCounter_Marker_File" in file.head


def read(file: LabelFile, around: Surroundings) -> list[Labelled]:
    """Every marker is a cell; its type is its class."""
    text = file.path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # which may make a small file endless
        raise file.refused(None, "defines entities, which Cell Counter does not, save it again")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise file.refused(None, f"is no whole XML ({error}), save it again") from error
    name = (root.findtext(".//Image_Filename") or "").strip()
    titles = (name, name.removeprefix("Counter Window - "))
    image = around.named(file, None, *titles) if name else around.image_of(file)
    cells, types = [], set()
    for kind in root.iter("Marker_Type"):
        title = (kind.findtext("Name") or kind.findtext("Type") or "").strip()
        for marker in kind.iter("Marker"):
            x, y, plane = (
                file.number(None, (marker.findtext(f"Marker{axis}") or "").strip())
                for axis in "XYZ"
            )
            frame = around.frame_of_plane(file, None, image, int(plane))
            cells.append((image, frame, Point(x, y, title)))
            types.add(title)
    if len(types) > 1:
        shown = ", ".join(sorted(types))
        around.note(f"{file.path.name} has markers of several types, counted together: {shown}.")
    if not cells:
        if around.layout(image).frames > 1:
            raise file.refused(None, f"has no marker, so it labels no frame of {image.name}")
        around.note(f"{file.path.name} has no marker: {image.name} counts 0.")
        return [Labelled(image, None, 0.0, (file.path, None), ())]
    return grouped(file, cells)


def write(dotted: Dotted) -> str:
    """A type of marker for each class; the plugin takes whole pixels alone."""
    planes = [(plane, cell) for plane, cells in dotted.planes() for cell in cells]
    root = ElementTree.Element("CellCounter_Marker_File")
    properties = ElementTree.SubElement(root, "Image_Properties")
    _add(properties, "Image_Filename", dotted.image.name)
    data = ElementTree.SubElement(root, "Marker_Data")
    _add(data, "Current_Type", 0)
    for number, kind in enumerate(dict.fromkeys(cell.kind for _, cell in planes) or [""], 1):
        markers = ElementTree.SubElement(data, "Marker_Type")
        _add(markers, "Type", number)
        if kind:
            _add(markers, "Name", kind)
        for plane, cell in planes:
            if cell.kind == kind:
                marker = ElementTree.SubElement(markers, "Marker")
                for name, value in ("X", round(cell.x)), ("Y", round(cell.y)), ("Z", plane):
                    _add(marker, f"Marker{name}", value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
