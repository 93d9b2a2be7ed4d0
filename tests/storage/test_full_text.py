"""Words are found wherever a script does not put spaces around them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from imagen._storage.full_text import as_searched, match_words

FOUND = [
    ("วาดประภาคารริมทะเลตอนพระอาทิตย์ตก", "ประภาคาร"),
    ("วาดประภาคารริมทะเลตอนพระอาทิตย์ตก", "ทะเล"),
    ("ผู้หญิงที่มีผมยาว", "ที่มี"),
    ("ប៉មភ្លើងហ្វារនៅមាត់សមុទ្រ", "សមុទ្រ"),
    ("ປະພາຄານຢູ່ແຄມທະເລ", "ທະເລ"),
    ("ပင်လယ်ကမ်းခြေရှိမီးပြတိုက်", "မီးပြတိုက်"),
    ("해질녘의 등대가 보이는 바다에서", "등대"),
    ("해질녘의 등대가 보이는 바다에서", "바다"),
    ("해질녘의 등대가", "해질녘의 등대"),
    ("夕暮れの灯台", "灯台"),
    ("ﾄｳﾀﾞｲの写真", "写真"),
    ("ꦧꦁꦸꦤꦤ꧀", "ꦤꦤ꧀"),
    ("समुद्र के किनारे प्रकाशस्तंभ", "प्रकाशस्तंभ"),
    ("কুকুর এবং বিড়াল", "বিড়াল"),
    ("கடற்கரையில் கலங்கரை விளக்கம்", "விளக்கம்"),
    ("مَنَارَةٌ عَلَى الْبَحْرِ", "منارة"),
    ("منـــارة", "منارة"),
    ("מִגְדַּלּוֹר בַּיָּם", "מגדלור"),
    ("Größe und Weite", "grosse"),
]
NOT_FOUND = [
    ("ผีเสื้อ", "ผา"),
    ("กีต้าร์", "กา"),
    ("등불", "등대"),
    ("바다", "다바"),
    ("किताब", "कताब"),
    ("கடல்", "கட"),
    ("ភ្នំ", "ភនំ"),
]


def matches(text, query):
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(
            'CREATE VIRTUAL TABLE t USING fts5 (w, tokenize = "unicode61 remove_diacritics 2'
            " categories 'L* N* Co So'\")"
        )
        database.execute("INSERT INTO t VALUES (?)", (as_searched(text),))
        return bool(
            database.execute("SELECT 1 FROM t WHERE t MATCH ?", (match_words(query),)).fetchall()
        )


@pytest.mark.parametrize(("text", "query"), FOUND)
def test_a_word_inside_a_sentence_is_found(text, query):
    assert matches(text, query)
    assert matches(f"a photo of {text}, 4k", query)


@pytest.mark.parametrize(("text", "query"), NOT_FOUND)
def test_other_words_are_not_found(text, query):
    assert not matches(text, query)


def test_text_in_ascii_is_only_folded():
    assert as_searched("A Lighthouse, 4K") == "a lighthouse, 4k"


def test_a_beginning_of_a_thai_or_korean_word_is_found():
    assert matches("ผู้หญิง", "ผ*")
    assert matches("등대가", "등대*")
