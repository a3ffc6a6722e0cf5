"""Search: dates, times and timezones. PS3.18 8.3.4.1.1, PS3.4 C.2.2.2.5."""

from archive import check_agenda, finds, on
from origin import first
from report import NotApplicable, equal, row


@row("Q12")
def ranges_of_dates_have_their_ends(origin):
    for value, expected in (
        ("20200102-20200103", [3, 4, 5]),
        ("20200103-", [4, 5, 6]),
        ("-20200101", [1, 2]),
        ("20200101-20200101", [1, 2]),
        ("20200104", [6]),
        ("20200105-", []),
        ("-20191231", []),
    ):
        check_agenda(origin, expected, StudyDate=value)


@row("Q13")
def ranges_of_times_have_their_ends(origin):
    for value, expected in (
        ("0800-1100", [1, 6]),
        ("143000-", [2, 5]),
        ("-020000", [3]),
        ("123000-143000", [4, 5]),
        ("110000", [1]),
        ("1430", [5]),
        ("080000.000000-110000.000000", [1, 6]),
        ("08-1059", [6]),
    ):
        check_agenda(origin, expected, StudyTime=value)


@row("Q13")
def ranges_of_date_times_have_their_ends(origin):
    made = origin.kept(on, "20200201", "101500", AcquisitionDateTime="20200201101530.5")
    if finds(origin, made, AcquisitionDateTime="19990101-19990102"):
        raise NotApplicable("the server matches no date-time")
    for value, expected in (
        ("20200201101530.5", True),
        ("20200201101530-20200201101531", True),
        ("20200201-", True),
        ("-20200201101529", False),
        ("-202002011016", True),
        ("202002011016-", False),
        ("20200201101530.5-", True),
    ):
        equal(f"AcquisitionDateTime={value} matches", finds(origin, made, AcquisitionDateTime=value), expected)


@row("Q13b")
def dates_and_times_are_one_interval(origin):
    for date, time, expected in (
        ("20200101-20200103", "1200-1300", [2, 3, 4]),
        ("20200101-20200102", "110000-020000", [1, 2, 3]),
        ("20200103-", "140000-", [5, 6]),
        ("-20200102", "-013000", [1, 2]),
    ):
        check_agenda(origin, expected, StudyDate=date, StudyTime=time)


@row("Q13c")
def a_timezone_in_the_request_moves_dates_and_times(origin):
    made = origin.kept(on, "20200301", "230000", TimezoneOffsetFromUTC="+0000")
    for date, time, expected in (
        ("20200302", "0100", True),
        ("20200301-20200302", "2359-0130", True),
        ("20200301", "2300", False),
        ("20200301-20200301", "2200-2359", False),
    ):
        found = finds(origin, made, "/studies", TimezoneOffsetFromUTC="+0200", StudyDate=date, StudyTime=time)
        equal(f"{date} {time} at +0200 matches", found, expected)


@row("Q13c")
def answers_tell_the_timezone_that_they_are_in(origin):
    made = origin.kept(on, "20200301", "230000", TimezoneOffsetFromUTC="+0000")
    [study] = origin.search("/studies", StudyInstanceUID=made.StudyInstanceUID, TimezoneOffsetFromUTC="+0200")
    moment = tuple(first(study, tag) for tag in ("00080020", "00080030", "00080201"))
    moment = (moment[0], moment[1][:4], moment[2])
    assert moment in (("20200302", "0100", "+0200"), ("20200301", "2300", "+0000")), f"date, time and offset: {moment}"
