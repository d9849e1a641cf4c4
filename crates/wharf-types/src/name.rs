//! Names of containers: given by the user, or made up as `adjective_surname`.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

/// The name of a container, without the leading slash the Engine API shows it with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Text that is not a name; the wording is Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct NameError(String);

/// Draws before the caller should take the id's first digits as a name instead.
pub const MADE_UP_ATTEMPTS: u32 = 6;

impl ContainerName {
    /// Longest name; what is longer makes paths and host names that the kernel refuses.
    const LENGTH_MAX: usize = 255;

    /// Makes up a name. From the second `attempt` (counted from 0) a decimal digit is added,
    /// because the plain pair was taken.
    #[must_use]
    pub fn made_up(attempt: u32) -> Self {
        let pair = format!("{}_{}", pick(&ADJECTIVES), pick(&SURNAMES));
        match attempt {
            0 => Self(pair),
            _ => Self(format!("{pair}{}", below(10))),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let holds = (2..=Self::LENGTH_MAX).contains(&name.len())
            && name.as_bytes()[0].is_ascii_alphanumeric()
            && name.bytes().all(inner);
        if holds {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

fn pick(words: &'static [&'static str]) -> &'static str {
    words[below(words.len())]
}

/// Draws uniformly below `bound`, which is far below 2³², so that the remainder's bias vanishes.
fn below(bound: usize) -> usize {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).expect("getrandom of 8 bytes");
    let draw = u64::from_le_bytes(bytes) % bound as u64;
    usize::try_from(draw).expect("a value below a usize")
}

/// First words.
#[rustfmt::skip]
const ADJECTIVES: [&str; 126] = [
    "admiring", "agile", "amazed", "ample", "ardent", "artful", "astute", "avid", "balmy",
    "blissful", "bold", "brave", "breezy", "bright", "brisk", "busy", "calm", "candid", "careful",
    "cheerful", "civil", "clever", "cosy", "crisp", "curious", "dapper", "daring", "dazzling",
    "deft", "diligent", "eager", "earnest", "easygoing", "ecstatic", "elegant", "eloquent",
    "epic", "fair", "faithful", "famous", "fearless", "festive", "flamboyant", "focused", "fond",
    "frank", "friendly", "frosty", "gallant", "generous", "gentle", "gifted", "glad", "gracious",
    "grand", "happy", "hardy", "hearty", "helpful", "honest", "hopeful", "humble", "inspiring",
    "intrepid", "jolly", "jovial", "joyful", "keen", "kind", "lively", "loving", "loyal", "lucid",
    "lucky", "magical", "mellow", "merry", "mild", "modest", "neat", "nifty", "nimble", "noble",
    "optimistic", "patient", "peaceful", "pensive", "playful", "polished", "practical", "proud",
    "quick", "quiet", "quirky", "rapid", "relaxed", "reverent", "robust", "romantic", "serene",
    "sharp", "sincere", "sleepy", "smart", "snappy", "spry", "steady", "stoic", "sturdy", "sunny",
    "sweet", "tender", "thirsty", "tidy", "tranquil", "trusting", "upbeat", "vibrant", "vigilant",
    "vigorous", "warm", "wise", "witty", "wonderful", "zealous", "zen",
];

/// Second words: scientists and engineers.
#[rustfmt::skip]
const SURNAMES: [&str; 292] = [
    "abel", "adleman", "agnesi", "aiken", "airy", "allen", "almeida", "alvarez", "ampere",
    "anning", "appleton", "archimedes", "aristotle", "arrhenius", "aryabhata", "avicenna",
    "avogadro", "babbage", "bacon", "baekeland", "banach", "banting", "bardeen", "bartik",
    "bassi", "becquerel", "bell", "berners", "bernoulli", "bessel", "bhabha", "bhaskara",
    "biruni", "blackburn", "blackwell", "bohr", "boltzmann", "boole", "bose", "boyd", "brahe",
    "brahmagupta", "brattain", "braun", "bunsen", "burnell", "cannon", "cantor", "carnot",
    "carson", "cartwright", "carver", "cauchy", "cavendish", "cerf", "cernan", "chandrasekhar",
    "chaplygin", "chatelet", "chatterjee", "chebyshev", "church", "clarke", "cohen", "colden",
    "copernicus", "cori", "coulomb", "cray", "crick", "curie", "curran", "dalton", "darwin",
    "davinci", "davy", "dedekind", "descartes", "dewdney", "dijkstra", "diophantus", "dirac",
    "doppler", "dubinsky", "easley", "edison", "ehrlich", "einstein", "elbakyan", "elgamal",
    "elion", "ellis", "engelbart", "eratosthenes", "erdos", "euclid", "euler", "faraday",
    "feistel", "fermat", "fermi", "feynman", "fizeau", "fleming", "foucault", "fourier",
    "franklin", "fresnel", "frobenius", "galileo", "galois", "galton", "galvani", "ganguly",
    "gates", "gauss", "germain", "gibbs", "glenn", "goddard", "godel", "goldberg", "goldstine",
    "goldwasser", "golick", "goodall", "gould", "greider", "grothendieck", "haber", "hadamard",
    "haibt", "haldane", "halley", "hamilton", "hamming", "harvey", "haslett", "hawking",
    "heaviside", "heisenberg", "helmholtz", "hermann", "herschel", "hertz", "hilbert", "hodgkin",
    "hofstadter", "hooke", "hoover", "hopper", "hubble", "huygens", "hypatia", "ishizaka",
    "jackson", "jacobi", "jang", "jemison", "jennings", "jepsen", "johnson", "joliot", "jones",
    "joule", "kalam", "kapitsa", "kare", "keldysh", "keller", "kelvin", "kepler", "khayyam",
    "khorana", "kilby", "kirch", "kirchhoff", "knuth", "kolmogorov", "kovalevskaya", "lagrange",
    "lalande", "lamarr", "lamport", "landau", "laplace", "lavoisier", "leakey", "leavitt",
    "lederberg", "lehmann", "leibniz", "lewin", "lichterman", "liskov", "lorentz", "lovelace",
    "lumiere", "mahavira", "margulis", "matsumoto", "maxwell", "mayer", "mccarthy", "mcclintock",
    "mclaren", "mclean", "mcnulty", "meitner", "mendel", "mendeleev", "meninsky", "merkle",
    "mestorf", "milankovic", "minsky", "mirzakhani", "montalcini", "moore", "morse", "moser",
    "murdock", "napier", "nash", "neumann", "newton", "nightingale", "nobel", "noether", "noyce",
    "oersted", "ohm", "pascal", "pasteur", "pauli", "payne", "perlman", "pike", "planck",
    "poincare", "poitras", "proskuriakova", "ptolemy", "pythagoras", "raman", "ramanujan",
    "rhodes", "ride", "riemann", "ritchie", "robinson", "roentgen", "rosalind", "rubin",
    "rutherford", "sagan", "saha", "salk", "sammet", "shannon", "shockley", "shtern", "sinoussi",
    "snyder", "solomon", "sommerfeld", "spence", "stonebraker", "sutherland", "swanson", "swartz",
    "tesla", "thompson", "torvalds", "tu", "turing", "varahamihira", "vaughan", "villani",
    "visvesvaraya", "volhard", "volta", "wescoff", "wilbur", "wiles", "williams", "wilson",
    "wing", "wright", "yalow", "yonath", "zhukovsky",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_have_dockers_shape() {
        for attempt in [0, 1] {
            let name = ContainerName::made_up(attempt);
            let (adjective, surname) = name.as_str().split_once('_').expect("an underscore");
            assert!(adjective.bytes().all(|b| b.is_ascii_lowercase()));
            let digits = surname.bytes().filter(u8::is_ascii_digit).count();
            assert_eq!(digits, attempt as usize);
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
    }

    #[test]
    fn given_names_follow_the_rule() {
        for text in ["web", "/web", "a.b-c_1", "0a"] {
            assert_eq!(
                text.parse::<ContainerName>().expect(text).as_str(),
                text.trim_start_matches('/')
            );
        }
        for text in [
            "",
            "a",
            "/",
            "//web",
            "-ab",
            ".ab",
            "a b",
            "a/b",
            "é1",
            &"a".repeat(256),
        ] {
            assert_eq!(
                text.parse::<ContainerName>(),
                Err(NameError(text.to_owned()))
            );
        }
    }
}
