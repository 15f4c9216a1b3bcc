//! Templates that would take all time, memory or stack there is.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use llama2_jinja::{Error, Source, Template, Value, limits};

use crate::jinja2::NOW;

/// Parses and renders a template, with a long text and a list as variables.
fn render(source: &str) -> Result<usize, Error> {
    let long = Value::text(&"ab c\n".repeat(20_000), Source(1));
    let list = Value::list((0..1000).map(Value::Int).collect());
    let template = Template::parse(source)?;
    let text = template.render(&[("long", long), ("list", list)], NOW)?;
    Ok(text.as_str().len())
}

/// The time that this thread has used: the processor's where Linux tells it, because others may use
/// that, too.
fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let file = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let ticks = file
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11);
    let ticks = ticks.take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    match ticks.collect::<Vec<u64>>()[..] {
        [user, system] => Duration::from_millis(10 * (user + system)),
        _ => START.get_or_init(Instant::now).elapsed(),
    }
}

/// Repeats an opening and a closing part around a middle.
fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn hostile_templates_are_refused_quickly() {
    let twice = |what: &str, times: usize| {
        format!(
            "{{% set x = {what} %}}{}",
            "{% set x = x + x %}".repeat(times)
        )
    };
    let loops = |depth: usize| {
        let range = "{% for i in range(100000) %}";
        nested(range, "{{ long }}", "{% endfor %}", depth)
    };
    let in_loop = |what: &str| {
        format!(
            "{{% for i in range(100000) %}}{{% for j in range(100000) %}}{what}{{% endfor %}}{{% endfor %}}"
        )
    };
    let parameters = |default: &str| {
        let all = (0..30_000).map(|i| format!("a{i}{default},"));
        let all = all.collect::<String>();
        let all = all.trim_end_matches(',');
        format!(
            "{{% macro f({all}) %}}{{% if not a0 %}}{{{{ f(a0) }}}}{{% endif %}}{{% endmacro %}}"
        ) + "{{ f() }}"
    };
    let large = "{% set a = 'abcdefghijklmnop' * 1000000 %}";
    let cases = [
        parameters(""),
        parameters("=0"),
        format!("{large}{}", in_loop("{% set x = 1|tojson(indent=a) %}")),
        format!("{large}{}", in_loop("{% set x = 1|tojson(separators=(a, a)) %}")),
        format!("{large}{}", in_loop("{% set x = 'b'|indent(a) %}")),
        format!("{large}{{% set b = 'a' ~ a %}}{}", in_loop("{% set x = b.startswith((a,)) %}")),
        format!("{large}{{{{ a.endswith(('b' ~ a[1:],) * 10000) }}}}"),
        in_loop(""),
        in_loop("{{ i }}"),
        in_loop("{% set x = long.upper() %}"),
        in_loop("{% set x = long|length %}"),
        in_loop("{% set x = 'é' in long %}"),
        in_loop("{% if long == long ~ '' %}{% endif %}"),
        in_loop("{% if list == list + [] %}{% endif %}"),
        in_loop("{% set x = long[5000] %}"),
        in_loop("{% set x = long[::-1] %}"),
        in_loop("{% set x = long.split() %}"),
        in_loop("{% set x = long.split('a') %}"),
        in_loop("{% set x = long|list %}"),
        in_loop("{% set x = long|tojson %}"),
        in_loop("{% set x = long.replace('a', 'b') %}"),
        in_loop("{% set x = long|indent %}"),
        in_loop("{% set x = long.strip(long) %}"),
        in_loop("{% set x = list|sort %}"),
        in_loop("{% set x = list|unique|list %}"),
        in_loop("{% set x = list|map('string')|join %}"),
        in_loop("{% set x = {long: 1} %}"),
        in_loop("{% set x = namespace(a=1) %}"),
        in_loop("{% set x = 5 in list %}"),
        in_loop("{% set x = list|string %}"),
        in_loop("{% set x = missing %}{% set y = list.x %}"),
        in_loop("{% set x = '%s' % long %}{% set x = '{}'.format(long) %}"),
        in_loop("{% macro f(a) %}{{ a }}{% endmacro %}{{ f(long) }}"),
        loops(1),
        loops(3),
        "{{ 'a' * 1000000000 }}".into(),
        "{{ 'a' * 9000000000000000000 }}".into(),
        "{{ [1] * 1000000000 }}".into(),
        "{{ long * 100000 }}".into(),
        "{{ range(1000000000) }}".into(),
        "{{ '%1000000000d' % 5 }}".into(),
        "{{ '%.1000000000f' % 5 }}".into(),
        "{{ '%99999999999999999999d|%1000000000s' % (5, 5) }}".into(),
        "{{ '{:1000000000}'.format(5) }}".into(),
        "{{ '{:.1000000000f}'.format(5) }}".into(),
        "{{ long|indent(1000000000) }}".into(),
        "{{ long|indent('a' * 10000) }}".into(),
        "{{ [[[1]]]|tojson(indent=1000000000) }}".into(),
        "{{ long.replace('', long) }}".into(),
        "{{ long.replace('a', long) }}".into(),
        "{{ long|list|join(long) }}".into(),
        "{{ 2 ** 1000000000 }}".into(),
        "{{ 2.0 ** 1e300 }}".into(),
        "{{ 9223372036854775807 + 1 }}".into(),
        "{{ -9223372036854775807 * 2 }}".into(),
        "{{ (-9223372036854775807 - 1) // -1 }}".into(),
        "{{ (-9223372036854775807 - 1) % -1 }}".into(),
        "{{ (-9223372036854775807 - 1)|abs }}".into(),
        twice("'a'", 40),
        twice("[1]", 40),
        twice("(1,)", 40),
        format!("{{% set x = [] %}}{}{{{{ x }}}}", "{% set x = [x, x] %}".repeat(30)),
        format!("{{% set x = [] %}}{}{{{{ x|tojson }}}}", "{% set x = {'a': x, 'b': x} %}".repeat(30)),
        format!(
            "{{% set x = [] %}}{{% set y = [] %}}{}{{{{ x == y }}}}",
            "{% set x = [x, x] %}{% set y = [y, y] %}".repeat(30)
        ),
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}".into(),
        "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x.copy] %}{% endfor %}".into(),
        "{% set ns = namespace(x={}) %}{% for i in range(90000) %}{% set ns.x = {1: ns.x.get} %}{% endfor %}".into(),
        "{% set ns = namespace(x=1) %}{% set ns.x = {'a': ns} %}{{ ns.x }}".into(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ [ns] }}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}".into(),
        "{% macro f() %}{% call f() %}{% endcall %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}".into(),
        "{{ 'a'|map('map', 'map', 'map', 'map', 'map', 'map', 'map', 'map', 'map', 'map')|list }}".into(),
        nested("(", "1", ")", 5000),
        format!("{{{{ {} }}}}", nested("(", "1", ")", 5000)),
        format!("{{{{ {} }}}}", nested("[", "1", "]", 5000)),
        format!("{{{{ {} }}}}", nested("{1: ", "1", "}", 5000)),
        format!("{{{{ {} }}}}", nested("f(", "1", ")", 5000)),
        format!("{{{{ {} }}}}", nested("x[", "1", "]", 5000)),
        format!("{{{{ {} }}}}", nested("1|abs(", "1", ")", 5000)),
        format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(5000)),
        format!("{{% for {} in x %}}{{% endfor %}}", nested("(", "a", ",)", 5000)),
        nested("{% if 1 %}", "a", "{% endif %}", 5000),
        nested("{% for x in [1] %}", "a", "{% endfor %}", 5000),
        nested("{% macro f() %}", "a", "{% endmacro %}", 5000),
        nested("{% call f() %}", "a", "{% endcall %}", 5000),
        nested("{% set x %}", "a", "{% endset %}", 5000),
        "{% for x in [1] if x %}".repeat(5000),
        format!("{{{{ 1{} }}}}", " if 1".repeat(200_000)),
        "{% raw %}{% endra".repeat(60_000),
        "{".repeat(limits::SOURCE),
        "{#".repeat(limits::SOURCE / 2),
        "a".repeat(limits::SOURCE + 1),
    ];
    let mut slowest = (Duration::ZERO, String::new());
    for source in &cases {
        let shown: String = source.chars().take(100).collect();
        let start = now();
        let outcome = render(source);
        let took = now() - start;
        if took > slowest.0 {
            slowest = (took, shown.clone());
        }
        match outcome {
            // What is long, but no program.
            Ok(length) if length <= limits::SOURCE && !shown.contains("%}") => (),
            Ok(length) => panic!("{shown}: {length} bytes"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert!(took < Duration::from_secs(1), "{shown}: {took:?}");
    }
    println!("worst: {:?} for {}", slowest.0, slowest.1);
}

#[test]
fn many_names_and_constants_are_no_trouble() {
    let many = |part: &dyn Fn(usize) -> String, count| (0..count).map(part).collect::<String>();
    let cases = [
        many(&|i| format!("{{% set a{i} = {i} %}}"), 40_000),
        many(&|i| format!("{{{{ a{i} }}}}"), 70_000),
        format!("{{{{ {{{}}} }}}}", many(&|i| format!("{i}: 1,"), 90_000)),
        format!("{{{{ [{}] }}}}", many(&|_| "1,".into(), 400_000)),
        format!("{{{{ 1 {} }}}}", many(&|_| "+ 1 ".into(), 200_000)),
        format!("{{{{ 1 {} }}}}", many(&|_| "~ 1 ".into(), 200_000)),
        format!("{{{{ 1 {} }}}}", many(&|_| "< 2 ".into(), 200_000)),
        format!("{{{{ x {} }}}}", many(&|_| "or x ".into(), 200_000)),
        format!("{{{{ {} 1 }}}}", many(&|_| "not ".into(), 200_000)),
        format!("{{{{ {} 1 }}}}", many(&|_| "-".into(), 200_000)),
        format!("{{{{ 1{} }}}}", many(&|_| "|abs".into(), 200_000)),
        format!(
            "{{% if 1 %}}{}{{% endif %}}",
            many(&|_| "{% elif 1 %}".into(), 80_000)
        ),
        many(&|_| "{% macro f() %}{% endmacro %}".into(), 30_000),
        format!("{{{{ f({}) }}}}", many(&|i| format!("a{i}=1,"), 80_000)),
    ];
    for source in &cases {
        let start = now();
        let _ = render(source);
        let (took, shown) = (now() - start, &source[..source.len().min(60)]);
        assert!(took < Duration::from_secs(1), "{shown}: {took:?}");
    }
}

/// The deepest templates that are accepted.
fn deepest() -> Vec<String> {
    let depth = limits::SYNTAX_DEPTH - 3;
    let value = limits::VALUE_DEPTH - 1;
    let list = format!("{{% set x = 1 %}}{}", "{% set x = [x] %}".repeat(value));
    let map = format!(
        "{{% set x = 1 %}}{}",
        "{% set x = {'a': x} %}".repeat(value)
    );
    vec![
        format!("{{{{ {} }}}}", nested("(", "1", ")", depth)),
        format!("{{{{ {} }}}}", nested("[", "1", "]", value)),
        format!(
            "{{{{ {} }}}}",
            nested("1 + (not -1 < (", "1", "))", depth / 5)
        ),
        format!("{{{{ {} }}}}", nested("1|default(", "1", ")", depth)),
        format!("{{{{ {} }}}}", nested("dict(a=", "1", ")", value)),
        nested("{% if 1 %}", "a", "{% endif %}", depth),
        nested("{% for x in [1] %}", "a", "{% endfor %}", depth),
        nested("{% set x %}", "a", "{% endset %}", depth),
        nested("{% filter upper %}", "a", "{% endfilter %}", depth),
        nested("{% macro f() %}", "a", "{% endmacro %}", depth),
        format!(
            "{{% macro f() %}}{{{{ caller() }}}}{{% endmacro %}}{}",
            nested("{% call f() %}", "a", "{% endcall %}", depth)
        ),
        format!("{list}{{{{ x }}}}{{{{ x|tojson(indent=1) }}}}{{{{ x == x }}}}{{{{ x < x }}}}"),
        format!("{map}{{{{ x }}}}{{{{ x|tojson(indent=1) }}}}{{{{ x == x }}}}"),
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}".into(),
        "{{ ['a']|map('map', 'map', 'map', 'map', 'upper')|list|length }}".into(),
    ]
}

/// The rest of firmware's stack is enough for the deepest template.
#[test]
fn a_small_stack_is_enough() {
    for source in deepest() {
        let small = thread::Builder::new().stack_size(STACK).spawn(move || {
            let shown: String = source.chars().take(60).collect();
            render(&source).unwrap_or_else(|error| panic!("{shown}: {error}"));
        });
        small.unwrap().join().unwrap();
    }
}

/// Bytes of the stack on which the deepest templates run.
const STACK: usize = 64 << 10;

/// A whole conversation is rendered before each answer: in Qwen3's template of 4 KB, where it is,
/// or in a small one like it.
#[test]
fn a_long_conversation_is_rendered_quickly() {
    let folder = std::env::var_os("LLAMA2_TEMPLATES").unwrap_or_default();
    let file = std::path::Path::new(&folder).join("Qwen-Qwen3-0.6B.jinja");
    let source = std::fs::read_to_string(file);
    let source = source.unwrap_or(include_str!("../templates/thinker.jinja").into());
    let template = Template::parse(&source).unwrap();
    let message = |i: u32| {
        let role = if i.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        let said = "What somebody says, in a few words or more. ".repeat(5);
        Value::map(vec![
            ("role".into(), role.into()),
            ("content".into(), Value::text(&said, Source(i + 1))),
        ])
    };
    let messages = Value::list((0..60).map(message).collect());
    let variables = [
        ("messages", messages),
        ("add_generation_prompt", true.into()),
    ];
    let start = now();
    let mut bytes = 0;
    for _ in 0..100 {
        bytes = template.render(&variables, NOW).unwrap().as_str().len();
    }
    let took = (now() - start) / 100;
    println!("worst: {took:?} for {bytes} bytes");
    assert!(took < Duration::from_millis(50), "{took:?}");
}

#[test]
fn an_exception_without_a_message_is_a_sentence_all_the_same() {
    for message in ["''", "' \n'", "missing"] {
        let error = render(&format!("{{{{ raise_exception({message}) }}}}")).unwrap_err();
        assert!(matches!(error, Error::Raised(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "it raised an exception without a message"
        );
    }
}
