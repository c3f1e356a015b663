"""Names of the expressions and splits in other data sets."""

from __future__ import annotations

import unicodedata

SPLITS = ("train", "validation", "test")
UNSPLIT = "unsplit"
FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")
ALL_SPLITS = (*SPLITS, UNSPLIT)

# As `normalize_name` returns them, without accents and capitals. Two letters are the codes of
# JAFFE and KDEF.
_EXPRESSIONS = {
    "angry": """an ang anger angry fury mad rage enfadada enfadado enfado enojada enojado enojo
        furia ira rabia raiva zangado colere enerve fache arger argerlich wut wutend arrabbiato
        rabbia""",
    "disgust": """di dis disgust disgusted asco asqueado disgusto repugnancia desgosto
        nojo degout degoute angeekelt ekel disgustato""",
    "fear": """af afraid fe fea fear fearful scared asustada asustado miedo temor assustado medo
        apeure effraye peur angst angstlich furcht impaurito paura spaventato""",
    "happy": """ha hap happiness happy joy joyful alegre alegria contenta contento felicidad feliz
        felicidade heureuse heureux joie freude frohlich glucklich felice felicita gioia""",
    "sad": """sa sad sadness triste tristeza tristesse traurig traurigkeit trauer tristezza""",
    "surprise": """su sur surprise surprised sorprendida sorprendido sorpresa surpreso surpresa
        surpris uberrascht uberraschung sorpreso""",
    "neutral": "ne neu neutral neutrality neutro neutre neutrale",
    "contempt": """contempt contemptuous desprecio desprezo mepris verachtung verachtend
        disprezzo""",
}
_SPLITS = {
    "train": "train training trainingset trainset fer2013train entrenamiento",
    "validation": """validation valid val dev publictest publictestset fer2013valid validacion""",
    "test": "test testing testset privatetest privatetestset fer2013test prueba",
}
_EXPRESSION_OF = {alias: name for name, text in _EXPRESSIONS.items() for alias in text.split()}
_SPLIT_OF = {alias: name for name, text in _SPLITS.items() for alias in text.split()}


def normalize_name(text: str) -> str:
    """A name without case, accents and outer punctuation.

    >>> normalize_name(" Alegría_ ")
    'alegria'
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return bare.strip(" \t_-.\"'")


def expression(name: str) -> str | None:
    """The expression that a name in any of six languages means; None if there is none.

    >>> expression("Tristeza"), expression("bored")
    ('sad', None)
    """
    return _EXPRESSION_OF.get(normalize_name(name))


def split_name(name: str) -> str | None:
    """The split that the name of a folder or a Usage means, or None.

    >>> split_name("PublicTest"), split_name("angry")
    ('validation', None)
    """
    return _SPLIT_OF.get(normalize_name(name).replace(" ", "").replace("_", "").replace("-", ""))
