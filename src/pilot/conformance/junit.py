"""A report as JUnit XML, which is what continuous integration reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from .report import Outcome, Report, Result

# XML 1.0 has no name for these.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml(report: Report) -> bytes:
    """One suite per group."""
    top = ElementTree.Element("testsuites", name="pilot conformance")
    for group in report.groups():
        results = [result for result in report.results if result.group == group.name]
        counts = {
            "tests": len(results),
            "failures": sum(result.outcome is Outcome.UNMET for result in results),
            "skipped": group.not_tried,
        }
        suite = ElementTree.SubElement(top, "testsuite", {"name": group.name, **_texts(counts)})
        for result in results:
            _add(suite, result)
    ElementTree.indent(top)
    document: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add(suite: ElementTree.Element, result: Result) -> None:
    named = {"classname": f"pilot.{result.operation}", "name": result.promise, "time": f"{result.seconds:.3f}"}
    case = ElementTree.SubElement(suite, "testcase", named)
    why = _NOT_XML.sub("�", result.why)
    if result.outcome is Outcome.UNMET:
        ElementTree.SubElement(case, "failure", message=why)
    elif result.outcome is Outcome.NOT_TRIED:
        ElementTree.SubElement(case, "skipped", message=why)


def _texts(counts: dict[str, int]) -> dict[str, str]:
    return {name: str(count) for name, count in counts.items()}
