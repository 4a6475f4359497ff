"""Certificates, listings and the catalogue of rules: what needs neither configuration nor server."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.certificates import write_certificate
from pasvport.doctor import page
from pasvport.doctor.certificate import read_certificate
from pasvport.doctor.diagnosis import DIAGNOSIS
from pasvport.doctor.listing import read_listing
from pasvport.doctor.reading import READABILITY, READING
from pasvport.doctor.visit import Style

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_the_page_of_findings_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == page.render(), "run `make docs`"


def test_ids_are_unique_and_rows_are_whole() -> None:
    rules = [*READABILITY, *READING, *DIAGNOSIS]
    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.id == rule.id.lower().replace(" ", "-")
        assert all(text.endswith((".", ")")) for text in (rule.meaning, rule.why, rule.fix)), rule.id
        assert f"`{rule.id}`" in page.render()


def test_a_certificate_is_read(tmp_path: Path) -> None:
    pem = write_certificate(tmp_path, host="files.example", days=12).read_text()
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])
    certificate = read_certificate(der)
    assert certificate.names == ("files.example", "127.0.0.1")
    days = (certificate.ends - datetime.datetime.now(datetime.UTC).timestamp()) / 86400
    assert 11 < days <= 12
    assert certificate.begins < certificate.ends
    for end in range(len(der)):
        with pytest.raises(ValueError, match=r".*"):
            read_certificate(der[:end])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_certificate_or_a_value_error(data: bytes) -> None:
    try:
        read_certificate(data)
    except ValueError:
        return
    pytest.fail("random bytes were taken for a certificate")


UNIX = b"""total 8
drwxr-xr-x   2 ftp      ftp          4096 Jan 01 10:00 a directory
-rw-r--r--   1 ftp      ftp             5 Jan 01  2020 file\r
lrwxrwxrwx   1 ftp      ftp             5 Jan 01  2020 link -> file
drwxr-xr-x   2 ftp      ftp          4096 Jan 01 10:00 .
"""
DOS = b"10-21-26  03:04PM       <DIR>          a directory\r\n10-21-2026  03:04               12345 file\r\n"


def test_forms_of_listings() -> None:
    assert read_listing(UNIX) == type(read_listing(b""))(Style.UNIX, frozenset({"a directory", "file", "link"}))
    assert read_listing(DOS).style is Style.DOS
    assert read_listing(DOS).names == {"a directory", "file"}
    assert read_listing(b"total 0\r\n").style is Style.EMPTY
    assert read_listing(b"+i8388621.48594,m825718503,r,s280,\tdjb.html\r\n").style is Style.OTHER


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_listing(data: bytes) -> None:
    assert read_listing(data).style in Style
