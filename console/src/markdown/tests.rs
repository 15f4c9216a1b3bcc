use super::*;

/// Rows of a text that comes in pieces of `cut` letters, and what they were at each moment.
fn rows(width: usize, cut: usize, text: &str, each: &mut dyn FnMut(&[Row])) -> Vec<Row> {
    let letters: Vec<char> = text.chars().collect();
    let mut markdown = Markdown::new(width);
    let mut all = Vec::new();
    for piece in letters.chunks(cut) {
        markdown.push(&piece.iter().collect::<String>());
        let (rows, done) = markdown.rows(false);
        let mut shown = all.clone();
        shown.extend(rows.iter().cloned());
        each(&shown);
        all.extend(rows.into_iter().take(done));
    }
    markdown.finish();
    let (mut rows, done) = markdown.rows(false);
    assert_eq!(rows.pop().unwrap().text(), "", "all is final");
    assert_eq!(rows.len(), done);
    all.extend(rows);
    all
}

/// Rows with marks for the styles.
fn marked(rows: &[Row]) -> Vec<String> {
    let mark = |style| match style {
        Style::Answer => "",
        Style::Strong => "*",
        Style::Emphasis => "/",
        Style::Code => "`",
        Style::Listing => "=",
        Style::Title => "#",
        Style::Faint => "~",
        other => panic!("{other:?}"),
    };
    let row = |row: &Row| {
        let runs = row.runs().map(|(style, text)| {
            let mark = mark(style);
            format!("{mark}{text}{mark}")
        });
        runs.collect::<String>().trim_end().to_string()
    };
    rows.iter().map(row).collect()
}

#[track_caller]
fn check(width: usize, text: &str, want: &[&str]) {
    for cut in [1, 2, 3, 7, 10_000] {
        let rows = rows(width, cut, text, &mut |_| ());
        assert_eq!(marked(&rows), want, "{text:?} by {cut}");
    }
}

#[test]
fn emphasis_code_and_links() {
    for (text, want) in [
        ("a **b c** d", "a *b c* d"),
        ("a *b* and _c_.", "a /b/ and /c/."),
        ("***both*** **a *b* c**", "*both* *a b c*"),
        ("**a *b***", "*a b*"),
        ("*a **b***", "/a /*b*"),
        ("粗**体**字", "粗*体*字"),
        ("**Note:**text", "*Note:*text"),
        ("use `a*b*c` or ``a ` b``", "use `a*b*c` or `a ` b`"),
        ("**bold `code`**", "*bold *`code`"),
        (
            "see [the docs](https://a.b/c(d)) now",
            "see the docs~ (https://a.b/c(d))~ now",
        ),
        ("[https://a.b](https://a.b)", "https://a.b"),
        ("**[x](y)**", "*x*~ (y)~"),
        (r"\*a\* \_ \` \( \\", r"*a* _ ` \( \\"),
    ] {
        check(60, text, &[want]);
    }
}

#[test]
fn what_is_doubtful_stays_as_it_is_written() {
    for text in [
        "2 * 3 * 4 = 2*3*4, 2**3 and 4**5",
        "snake_case_name and __init__ and *",
        "a ** b ** c, **not closed",
        "`not closed, *neither",
        "[ ] [a] (b) [a]b [](x) [a [b](",
        "C:\\dir \\(x_1\\) \\[y\\] $a_b$",
        "<b>html</b> &lt; ~~gone~~ ![",
        "#hash -5 1.5 1) +1 -- ==== ~ `` |",
        "-",
        "a **** b",
    ] {
        check(80, text, &[text]);
    }
    // A mark is not looked for without end.
    let long = format!("**{}** and", "word ".repeat(90).trim_end());
    let rows = rows(80, 1, &long, &mut |_| ());
    assert!(rows[0].text().starts_with("**word"));
}

#[test]
fn blocks() {
    check(
        30,
        "# A *title*\n\ntext that goes on and on and on\n- one\n  - two, which is a longer item\n\
         10. ten, which is a long one, too\n> quoted, and that for a long while\n> > deep\n***\n",
        &[
            "#A title#",
            "",
            "text that goes on and on and",
            "on",
            "~•~ one",
            "  ~•~ two, which is a longer",
            "    item",
            "~10.~ ten, which is a long one,",
            "    too",
            "~│ ~quoted, and that for a long",
            "~│ ~while",
            "~│ │ ~deep",
            "~──────────────────────────────~",
        ],
    );
}

#[test]
fn code_is_not_touched() {
    check(
        20,
        "- so:\n  ```rust\n  fn a() { **b }\n\n      \tc`d`_e_\n  - x | y\n  ````\nafter\n~~~\n```\nlonger than a row of it\n~~~",
        &[
            "~•~ so:",
            "~── rust ────────────~",
            "=fn a() { **b }=",
            "",
            "=        c`d`_e_=",
            "=- x | y=",
            "~────────────────────~",
            "after",
            "~────────────────────~",
            "=```=",
            "=longer than a row of=",
            "= it=",
            "~────────────────────~",
        ],
    );
    check(20, "> ```\n> a\nb", &["~────────────────────~", "=a=", "b"]);
}

#[test]
fn tables_fit() {
    let text =
        "| Name | `n` | What |\n|:--|--:|:-:|\n| a | 1 | **x** y |\n| b \\| c | 22 |\n\nafter";
    check(
        40,
        text,
        &[
            "*Name* ~ │ ~ `n`~ │ ~*What*",
            "~──────┼────┼─────~",
            "a    ~ │ ~ 1~ │ ~*x* y",
            "b | c~ │ ~22~ │ ~",
            "",
            "after",
        ],
    );
    check(
        16,
        "| A | B |\n|--|--|\n| word word | long longer |\n| 1 | 2 |",
        &[
            "*A*      ~ │ ~*B*",
            "~────────┼───────~",
            "word   ~ │ ~long",
            "word   ~ │ ~longer",
            "1      ~ │ ~2",
        ],
    );
    // None at all, or without room.
    check(40, "|x| = 5\n| a | b |\nc", &["|x| = 5", "| a | b |", "c"]);
    check(8, "|a|b|c|\n|-|-|-|\n", &["|a|b|c|", "|-|-|-|"]);
    // A wide letter is not cut.
    for width in 1..20 {
        rows(
            width,
            1,
            "|日本|🙂🙂|c|\n|-|-|-|\n|a|b|日|\n",
            &mut |rows| {
                assert!(
                    rows.iter().all(|row| row.columns() <= width.max(2)),
                    "{width}"
                );
            },
        );
    }
}

#[test]
fn a_long_table_is_final_after_a_dozen_rows() {
    let mut markdown = Markdown::new(40);
    markdown.push("| A | B |\n|--|--|\n");
    for i in 0..40 {
        markdown.push(&format!("| {i} | row |\n"));
        let (rows, done) = markdown.rows(false);
        match i {
            0..11 => assert_eq!((done, rows.len()), (0, i + 4)),
            11 => assert_eq!((done, rows.len()), (14, 15)),
            _ => assert_eq!((done, rows.len()), (1, 2)),
        }
    }
}

#[test]
fn each_moment_looks_as_if_the_rest_followed() {
    let mut seen = Vec::new();
    rows(40, 1, "## T\na **b** c\n- x\n", &mut |rows| {
        seen.push(marked(rows))
    });
    let last: Vec<&str> = seen
        .iter()
        .map(|rows| rows.last().unwrap().as_str())
        .collect();
    assert_eq!(
        last,
        [
            "", "", "", "#T#", "", "a", "a", "a", "a", "a *b*", "a *b*", "a *b*", "a *b*",
            "a *b* c", "", "", "", "~•~ x", ""
        ]
    );
    // Only what is open may still change.
    let mut markdown = Markdown::new(10);
    markdown.push(&"word ".repeat(1000));
    let (rows, done) = markdown.rows(false);
    assert!(rows.len() - done == 1 && markdown.pending.is_empty());
    markdown.push(&"`".repeat(1000));
    assert!(markdown.pending.len() < 500);
}

#[test]
fn any_text_in_any_pieces_gives_the_same_rows_and_loses_no_letter() {
    const PIECES: [&str; 34] = [
        "a",
        "word",
        " ",
        "  ",
        "\n",
        "\n\n",
        "*",
        "**",
        "***",
        "_",
        "`",
        "``",
        "```",
        "~~~",
        "|",
        "| a | b |\n",
        "|--|:-:|\n",
        "#",
        "# ",
        "- ",
        "1. ",
        "> ",
        "---\n",
        "[",
        "](",
        ")",
        "\\",
        "日本",
        "🙂",
        "e\u{301}",
        "\t",
        "\u{1b}",
        "averyverylongwordindeed",
        ".",
    ];
    let mut random = crate::random(5);
    for round in 0..4000 {
        let mut text = String::new();
        // Some of them are long lines.
        let (count, lines) = if round % 8 == 0 {
            (300, false)
        } else {
            (60, true)
        };
        for _ in 0..random(count) {
            let piece = PIECES[random(PIECES.len())];
            text.push_str(if lines {
                piece
            } else {
                piece.trim_end_matches('\n')
            });
        }
        let width = 2 + random(30);
        let whole = rows(width, usize::MAX, &text, &mut |_| ());
        let mut fits = |rows: &[Row]| {
            let wide = rows.iter().map(Row::columns).max().unwrap_or(0);
            assert!(wide <= width, "{round}: {width} {text:?} {rows:?}");
        };
        assert_eq!(
            whole,
            rows(width, 1 + random(4), &text, &mut fits),
            "{round}: {text:?}"
        );
        if !text.contains("](") {
            let count = |text: &str| text.chars().filter(|l| l.is_alphanumeric()).count();
            let shown: usize = whole.iter().map(|row| count(row.text())).sum();
            assert_eq!(shown, count(&text), "{round}: {text:?}");
        }
    }
}

#[test]
fn no_text_is_kept_for_long() {
    for piece in [
        "`",
        "``a",
        "*a",
        "*a ",
        "**",
        "_a_",
        "[",
        "[a](",
        "[*a](b",
        "|",
        "| a ",
        "\\",
        "> ",
        "#",
        "-",
        "- ",
        "1",
        " ",
        "~",
        "*[a](b*",
        "日",
        "\u{301}",
        "\u{200d}",
        "a\u{200b}",
    ] {
        let mut markdown = Markdown::new(30);
        for _ in 0..2_000 {
            markdown.push(piece);
            let (rows, done) = markdown.rows(true);
            assert!(rows.len() - done < 70, "{piece}");
            assert!(
                rows[done..].iter().all(|row| row.text().len() < 1000),
                "{piece}"
            );
            assert!(markdown.pending.len() <= table::LONGEST, "{piece}");
        }
    }
}
