use super::*;

#[derive(Debug, Default, PartialEq)]
struct Arguments {
    remove: bool,
    interactive: bool,
    tty: bool,
    name: String,
    environment: Vec<String>,
    count: i64,
}

type F = Flag<Arguments>;

static FLAGS: &[F] = &[
    F::switch("rm", "Remove the container", |a, on| a.remove = on),
    F::switch("interactive", "Keep standard input open", |a, on| {
        a.interactive = on;
    })
    .short('i'),
    F::switch("tty", "Allocate a terminal", |a, on| a.tty = on).short('t'),
    F::value("name", "string", "Assign a name", |a, v| {
        a.name = v.to_owned();
        Ok(())
    }),
    F::value("env", "list", "Set variables", |a, v| {
        a.environment.push(v.to_owned());
        Ok(())
    })
    .short('e'),
    F::value("count", "int", "Count", |a, v| {
        a.count = parse_int(v)?;
        Ok(())
    })
    .short('c')
    .default("-1"),
    F::refused("gpus").short('g'),
];

static RUN: Grammar<Arguments> = Grammar {
    flags: &[FLAGS],
    interspersed: false,
    arity: Arity::AtLeast(1),
};
static MIXED: Grammar<Arguments> = Grammar {
    flags: &[FLAGS],
    interspersed: true,
    arity: Arity::AtMost(2),
};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn parsed(grammar: &Grammar<Arguments>, line: &str) -> (Arguments, Vec<String>) {
    match grammar.parse(&words(line)).expect("a good line") {
        Line::Arguments(arguments, positional) => (arguments, positional),
        Line::Help => panic!("help"),
    }
}

fn problem(line: &str) -> String {
    RUN.parse(&words(line)).expect_err("a bad line").to_string()
}

#[test]
fn short_flags_join_and_the_last_takes_the_value() {
    let (arguments, rest) = parsed(&RUN, "-ite A=1 -eB=2 -e=C=3 --env D=4 --env=E=5 busybox");
    assert!(arguments.interactive && arguments.tty);
    assert_eq!(arguments.environment, ["A=1", "B=2", "C=3", "D=4", "E=5"]);
    assert_eq!(rest, ["busybox"]);
}

#[test]
fn flags_end_at_the_image() {
    let (arguments, rest) = parsed(&RUN, "--rm busybox ls --rm -it -- x");
    assert_eq!((arguments.remove, arguments.tty), (true, false));
    assert_eq!(rest, ["busybox", "ls", "--rm", "-it", "--", "x"]);
}

#[test]
fn flags_may_follow_where_they_may() {
    let (arguments, rest) = parsed(&MIXED, "a --rm b");
    assert!(arguments.remove);
    assert_eq!(rest, ["a", "b"]);
    assert_eq!(parsed(&MIXED, "-- --rm -").1, ["--rm", "-"]);
}

#[test]
fn the_last_value_wins_and_switches_turn_off() {
    let (arguments, _) = parsed(&RUN, "--rm --name a --rm=false --name b -it=false x");
    assert_eq!(
        (arguments.remove, arguments.name.as_str(), arguments.tty),
        (false, "b", false)
    );
    assert!(arguments.interactive);
}

#[test]
fn problems_are_worded_as_dockers() {
    assert_eq!(problem("--foo x"), "unknown flag: --foo");
    assert_eq!(problem("-itZx x"), "unknown shorthand flag: 'Z' in -Zx");
    assert_eq!(problem("--name"), "flag needs an argument: --name");
    assert_eq!(problem("-ie"), "flag needs an argument: 'e' in -e");
    assert_eq!(problem("--=x"), "bad flag syntax: --=x");
    assert_eq!(
        problem("--rm=maybe x"),
        "invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
    );
    assert_eq!(
        problem("-c x y"),
        "invalid argument \"x\" for \"-c, --count\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    assert_eq!(
        problem("--gpus all x"),
        "flag --gpus is known from Docker, but wharf does not serve it yet"
    );
    assert_eq!(problem("--rm"), "requires at least 1 argument");
}

#[test]
fn numbers_are_read_as_go_reads_them() {
    assert_eq!(parse_int("0x10"), Ok(16));
    assert_eq!(parse_int("-010"), Ok(-8));
    assert_eq!(parse_int("0"), Ok(0));
    assert_eq!(
        parse_int("9223372036854775808"),
        Err(Invalid(
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range".to_owned()
        ))
    );
    assert!(parse_int("+-1").is_err() && parse_int("").is_err() && parse_int("1_0").is_err());
}

#[test]
fn the_usage_text_is_dockers() {
    let error = UsageError {
        problem: UsageProblem::Count(Arity::Exactly(2)),
        command: "wharf rename".to_owned(),
        usage: "wharf rename CONTAINER NEW_NAME".to_owned(),
    };
    assert_eq!(error.exit_code(), 1);
    assert_eq!(
        error.text(),
        "wharf: 'wharf rename' requires 2 arguments\n\nUsage:  wharf rename CONTAINER NEW_NAME\n\nRun 'wharf rename --help' for more information\n"
    );
}

#[test]
fn the_options_are_listed_as_pflag_lists_them() {
    let text = flag_usages(&RUN.help_entries(), 44);
    assert_eq!(
        text,
        "  -c, --count int     Count (default -1)\n  -e, --env list      Set variables\n      --help          Print usage\n  \
         -i, --interactive   Keep standard input open\n      --name string   Assign a name\n      --rm            Remove the container\n  \
         -t, --tty           Allocate a terminal\n"
    );
}

proptest::proptest! {
    #[test]
    fn no_line_panics(line in proptest::collection::vec("[-=a-z0 é]{0,6}", 0..6)) {
        // Both answers are fine; the point is that there is one.
        assert!(matches!(RUN.parse(&line), Ok(_) | Err(_)));
    }
}
