"""A third-party package, written by the tests: one judge, attack, defence, benchmark and exporter, found by name."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
from babelguard.corpus import Corpus, Row
from babelguard.defences import Defence
from babelguard.errors import UserError
from babelguard.export import Exported
from babelguard.judges import Judgement, Verdict


class Words:
    """Judge by the sum of the bytes of the reply; the reason shows what the judge was given."""

    name = "acme-words"
    version = "7"

    def judge(self, exchanges):
        return [
            Judgement(
                Verdict.REFUSED if sum(one.reply.encode()) % 2 else Verdict.ANSWERED,
                f"{one.label} {one.language} {one.finished} {one.question}",
            )
            for one in exchanges
        ]

    def unsupported(self, languages):
        return [code for code in languages if code == "ko"]


class Shout:
    name = "acme-shout"

    def apply(self, row):
        return row._replace(text=row.text.upper())


class Filter(Defence):
    """Answer requests about bombs, rewrite requests about bread, and revise all replies of the model."""

    name = "acme-filter"
    digest = "filter 1"

    @classmethod
    def for_model(cls, chat):
        made = cls()
        made.model = chat.name
        return made

    def answer(self, question):
        return "No, I will not." if "bomb" in question.lower() else None

    def messages(self, question):
        return [{"role": "user", "content": question.replace("bread", "cake")}]

    def revise(self, question, reply):
        return f"{reply} [{self.model}, {len(question)}]"


class Riddles:
    name = "acme-riddles"
    split = "all"

    def load(self, path=None):
        if path is not None:
            raise UserError(f"The riddles are not read from {path}; do not set `prompts`.")
        labels = ("harmful", "harmless")
        return Corpus.of(
            (Row(f"{label}-{k}", label, {"en": f"{label} riddle {k}"}) for label in labels for k in (1, 2)), "riddles"
        )


class Shape:
    name = "acme-shape"

    def write(self, base, prompt, folder, screen, options):
        options.check(self.name, "colour")
        screen.say("  writing the shape")
        (folder / "shape.txt").write_text(f"{base.name} {tuple(prompt.theta.shape)} {options.given.get('colour')}")
        return Exported(serve=(), facts={"shape": list(prompt.theta.shape)})
'''

BROKEN = "import a_library_that_is_not_installed\n"
RAISING = "raise RuntimeError('this version of the driver is too old')\n"

ENTRY_POINTS = """
[babelguard.judges]
acme-words = acme_safety:Words
acme-missing = acme_safety:NoSuchClass
acme-broken = acme_broken:Judge
acme-raising = acme_raising:Judge
patterns = acme_safety:Words

[babelguard.attacks]
acme-shout = acme_safety:Shout
none = acme_safety:Shout

[babelguard.defences]
acme-filter = acme_safety:Filter
written = acme_safety:Filter

[babelguard.benchmarks]
acme-riddles = acme_safety:Riddles

[babelguard.exporters]
acme-shape = acme_safety:Shape
checkpoint = acme_safety:Shape
"""


def write_package(site: Path) -> Path:
    """Write the package and its metadata, as an installer does, into a folder for `sys.path`."""
    metadata = site / "acme_safety-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-safety\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "acme_safety.py").write_text(MODULE)
    (site / "acme_broken.py").write_text(BROKEN)
    (site / "acme_raising.py").write_text(RAISING)
    return site
