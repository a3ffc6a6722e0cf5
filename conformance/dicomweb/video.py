"""A film of grey pictures: H.264 High profile, level 4.1, in an MP4 file."""

SIDE = 16


class Bits:
    """Exp-Golomb codes and plain bits (H.264 9.1)."""

    def __init__(self):
        self.text = ""

    def plain(self, value, width):
        self.text += f"{value:0{width}b}"
        return self

    def unsigned(self, *values):
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def aligned(self):
        self.text += "0" * (-len(self.text) % 8)
        return self

    def data(self):
        return bytes(int(self.text[at : at + 8], 2) for at in range(0, len(self.text), 8))

    def ended(self):
        return self.plain(1, 1).aligned().data()


def parameter_sets():
    sequence = Bits().plain(100, 8).plain(0, 8).plain(41, 8)
    # Chroma 4:2:0, 8 bits; no scaling; picture order as decoded; one macroblock; frames only.
    sequence.unsigned(0, 1, 0, 0).plain(0, 2).unsigned(0, 2, 0).plain(0, 1).unsigned(0, 0).plain(0b1100, 4)
    picture = Bits().unsigned(0, 0).plain(0, 2).unsigned(0, 0, 0).plain(0, 3).unsigned(0, 0, 0).plain(0, 3)
    return b"\x67" + sequence.ended(), b"\x68" + picture.ended()


def picture(shade):
    """One macroblock of samples as they are (I_PCM)."""
    head = Bits().unsigned(0, 7, 0).plain(0, 4).unsigned(shade % 2).plain(0, 2).unsigned(0, 25).aligned()
    return b"\x65" + head.data() + bytes([shade]) * 256 + b"\x80" * 128 + b"\x80"


def box(kind, *content):
    data = b"".join(part if isinstance(part, bytes) else part.to_bytes(4, "big") for part in content)
    return (len(data) + 8).to_bytes(4, "big") + kind + data


def film(frames=5):
    samples = [len(data).to_bytes(4, "big") + data for data in map(picture, range(60, 60 + frames))]
    start = box(b"ftyp", b"isom", 512, b"isomavc1")
    size = len(start) + len(movie(samples, 0))
    return start + movie(samples, size + 8) + box(b"mdat", *samples)


MATRIX = b"".join(value.to_bytes(4, "big") for value in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))


def movie(samples, place):
    ticks = len(samples) * 40
    head = box(b"mvhd", 0, 0, 0, 1000, ticks, 0x10000, b"\1\0" + bytes(10), MATRIX, bytes(24), 2)
    track = box(b"tkhd", 7, 0, 0, 1, 0, ticks, bytes(16), MATRIX, SIDE << 16, SIDE << 16)
    media = box(b"mdhd", 0, 0, 0, 1000, ticks, b"\x55\xc4\0\0") + box(b"hdlr", 0, 0, b"vide", bytes(12), b"film\0")
    place_of_data = box(b"dinf", box(b"dref", 0, 1, box(b"url ", 1)))
    information = box(b"minf", box(b"vmhd", 1, bytes(8)), place_of_data, table(samples, place))
    return box(b"moov", head, box(b"trak", track, box(b"mdia", media, information)))


def table(samples, place):
    sequence, parameters = parameter_sets()
    sets = (
        b"\xff\xe1"
        + len(sequence).to_bytes(2, "big")
        + sequence
        + b"\1"
        + len(parameters).to_bytes(2, "big")
        + parameters
    )
    configuration = box(b"avcC", b"\1" + sequence[1:4] + sets + b"\xfd\xf8\xf8\0")
    side = SIDE.to_bytes(2, "big")
    entry = box(
        b"avc1",
        bytes(6) + b"\0\1",
        bytes(16),
        side,
        side,
        0x480000,
        0x480000,
        0,
        b"\0\1",
        bytes(32),
        b"\0\x18\xff\xff",
        configuration,
    )
    return box(
        b"stbl",
        box(b"stsd", 0, 1, entry),
        box(b"stts", 0, 1, len(samples), 40),
        box(b"stsc", 0, 1, 1, len(samples), 1),
        box(b"stsz", 0, 0, len(samples), *map(len, samples)),
        box(b"stco", 0, 1, place),
    )
