//! The plan of the house: every arrow between files goes down. It is read out of the imports themselves and held against
//! the README's architecture section.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A module, as its path below the crate.
type Module = Vec<String>;

/// The arrows between the files of a crate: who names whom.
struct Plan {
    arrows: BTreeMap<Module, BTreeSet<Module>>,
}

/// What is read of a file: code, without comments and tests.
struct Source {
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("it is text");
        // Tests stand at the end of their file.
        let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "].map(|begin| text.find(begin));
        let code = text.get(..tests.into_iter().flatten().min().unwrap_or(text.len())).unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        Self { code: lines.collect::<Vec<_>>().join("\n") }
    }

    /// Every path it imports, with whether it gives it on; and every `crate::` or `super::` path in its code.
    fn paths(&self) -> Vec<(Vec<String>, bool)> {
        let mut paths = Vec::new();
        let mut rest = String::new();
        for statement in self.code.split_inclusive(';') {
            let imported = statement.rsplit_once("use ").filter(|(before, tree)| {
                let before = before.rsplit('\n').next().unwrap_or_default().trim();
                tree.ends_with(';') && (before.is_empty() || before.starts_with("pub"))
            });
            match imported {
                Some((before, tree)) => {
                    let gives_on = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
                    let tree = tree.trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
                    flatten("", &tree, &mut |path| {
                        paths.push((segments(path), gives_on));
                    });
                    rest.push_str(before);
                }
                None => rest.push_str(statement),
            }
        }
        for start in ["crate::", "super::"] {
            for (at, _) in rest.match_indices(start).filter(|(at, _)| !rest[..*at].ends_with("::")) {
                let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let path: String = rest[at..].chars().take_while(|c| is_path(*c)).collect();
                paths.push((segments(&path), false));
            }
        }
        paths
    }
}

fn segments(path: &str) -> Vec<String> {
    let path = path.split(" as ").next().unwrap_or_default();
    path.split("::").map(|segment| segment.trim().to_owned()).filter(|segment| !segment.is_empty()).collect()
}

/// Every path of a tree of imports.
fn flatten(before: &str, tree: &str, found: &mut impl FnMut(&str)) {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else { return found(&format!("{before}{tree}")) };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = inner[from..at].trim();
                if !branch.is_empty() {
                    flatten(&format!("{before}{}", head.trim()), branch, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

impl Plan {
    fn of(folder: &str) -> Self {
        let mut sources: BTreeMap<Module, Source> = BTreeMap::new();
        walk(&root().join(folder), &mut |path| {
            let below = path.strip_prefix(root().join(folder)).expect("it is below").with_extension("");
            let mut module: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                module.pop();
            }
            sources.insert(module, Source::read(path));
        });
        assert!(sources.len() > 5, "{folder} has sources");
        let mut given_on: BTreeMap<(Module, String), Module> = BTreeMap::new();
        let mut named: Vec<(Module, Module)> = Vec::new();
        for (module, source) in &sources {
            for (path, gives_on) in source.paths() {
                let Some(path) = absolute(module, &path, &sources) else { continue };
                if let (true, Some(name)) = (gives_on, path.last()) {
                    given_on.insert((module.clone(), name.clone()), path.clone());
                }
                named.push((module.clone(), path));
            }
        }
        let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (from, path) in named {
            let to = file_of(&path, &sources, &given_on, 0);
            if let Some(to) = to.filter(|to| *to != from) {
                arrows.entry(from).or_default().insert(to);
            }
        }
        Self { arrows }
    }

    /// Everybody who can be reached from a file.
    fn below(&self, from: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&Module> = self.arrows.get(from).into_iter().flatten().collect();
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(self.arrows.get(module).into_iter().flatten());
            }
        }
        reached
    }

    fn circles(&self) -> Vec<String> {
        let is_on_one = |module: &&Module| self.below(module).contains(*module);
        self.arrows.keys().filter(is_on_one).map(|module| module.join("/")).collect()
    }
}

fn walk(folder: &Path, found: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("it is readable").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found(&path);
        }
    }
}

/// A path from the crate's root on; nothing if it leads out of the crate.
fn absolute(module: &[String], path: &[String], sources: &BTreeMap<Module, Source>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let up = path.iter().take_while(|segment| *segment == "super").count();
    let joined = |base: &[String], rest: &[String]| base.iter().chain(rest).cloned().collect::<Module>();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some(joined(module, rest)),
        "super" => Some(joined(module.get(..module.len().checked_sub(up)?)?, path.get(up..)?)),
        _ => {
            let child = joined(module, path.get(..1)?);
            sources.contains_key(&child).then(|| joined(module, path))
        }
    }
}

/// The file in which what a path names is written, through those that only give it on.
fn file_of(
    path: &[String],
    sources: &BTreeMap<Module, Source>,
    given_on: &BTreeMap<(Module, String), Module>,
    depth: usize,
) -> Option<Module> {
    let module = (0..=path.len()).rev().map(|n| path[..n].to_vec()).find(|module| sources.contains_key(module))?;
    let name = path.get(module.len()).cloned();
    match name.and_then(|name| given_on.get(&(module.clone(), name))) {
        Some(given) if depth < 8 => {
            let rest = path.get(module.len() + 1..).unwrap_or_default();
            let path: Module = given.iter().chain(rest).cloned().collect();
            file_of(&path, sources, given_on, depth + 1)
        }
        _ => Some(module),
    }
}

/// The floors of the engine, from the top down, as the README has them: one line each, its rooms first.
fn floors() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let (_, plan) = readme.split_once("engine/src from the top down").expect("the README has the plan");
    let (plan, _) = plan.split_once("```").expect("it ends");
    let is_room = |word: &&str| word.ends_with('/') || word.ends_with(".rs");
    let floor = |line: &str| -> Vec<String> {
        let rooms = line.split_whitespace().take_while(is_room);
        rooms.map(|room| room.trim_end_matches('/').trim_end_matches(".rs").to_owned()).collect()
    };
    plan.lines().map(floor).filter(|floor| !floor.is_empty()).collect()
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    for folder in ["engine/src", "gateway/src", "loadtest/src"] {
        let circles = Plan::of(folder).circles();
        assert!(circles.is_empty(), "{folder} has circles of imports through {}", circles.join(", "));
    }
}

#[test]
fn every_arrow_of_the_engine_goes_down() {
    let floors = floors();
    assert!(floors.len() > 8, "the README names the floors: {floors:?}");
    let floor = |module: &Module| {
        let room = module.first()?;
        floors.iter().position(|rooms| rooms.contains(room))
    };
    let plan = Plan::of("engine/src");
    for (from, arrows) in &plan.arrows {
        // lib.rs gives on what the engine's users name.
        if from.is_empty() {
            continue;
        }
        let above = floor(from).unwrap_or_else(|| panic!("the README has no floor for {}", from.join("/")));
        for to in arrows {
            let below = floor(to).unwrap_or_else(|| panic!("the README has no floor for {}", to.join("/")));
            assert!(
                below > above || from.first() == to.first(),
                "{} imports {}, which is not below it",
                from.join("/"),
                to.join("/")
            );
        }
    }
}

#[test]
fn the_plan_is_read_out_of_the_imports() {
    let plan = Plan::of("engine/src");
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
    let arrow =
        |from: &str, to: &str| plan.arrows.get(&module(from)).is_some_and(|to_all| to_all.contains(&module(to)));
    assert!(arrow("actors/command", "actors/messages"), "by super");
    assert!(arrow("actors/risk", "ledger/risk/judge"), "through a module that only gives on");
    assert!(arrow("journal/record", "ledger/entry"), "by crate");
    assert!(!arrow("ledger/entry", "journal/record"));
    let circle = Plan {
        arrows: [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]
            .map(|(from, to)| (module(from), BTreeSet::from([module(to)])))
            .into(),
    };
    assert_eq!(circle.circles(), ["a", "b", "c"]);
}
