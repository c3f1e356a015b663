"""What pages say, in each language."""

from __future__ import annotations

from collections.abc import Mapping

from ferembed.errors import UnknownName
from ferembed.labels import display_name
from ferembed.registry import unknown_name_message


class Phrases:
    """The words and numbers of one language.

    >>> spanish = Phrases("es")
    >>> spanish("faces", count=spanish.count(3589)), spanish.label("happy")
    ('3\\u202f589 caras', 'Alegría')
    """

    def __init__(self, language: str) -> None:
        if language not in PHRASES:
            raise UnknownName(unknown_name_message("language", language, list(PHRASES)))
        self.language = language

    def __call__(self, key: str, **fields: object) -> str:
        return PHRASES[self.language][key].format(**fields)

    def label(self, label: str) -> str:
        return display_name(label, self.language)

    def count(self, number: int) -> str:
        """A whole number with its thousands apart."""
        text = f"{number:,}"
        return text if self.language == "en" else text.replace(",", "\u202f")

    def percent(self, share: float, digits: int = 2) -> str:
        text = f"{share:.{digits}%}"
        return text if self.language == "en" else text.replace("%", "\u00a0%")


PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "accuracy": "accuracy",
        "all faces": "all faces",
        "answer": "answer",
        "answered": "answered {answer}, {confidence}",
        "answers": "answers",
        "bytes": "Size on disk",
        "calibration": "Calibration",
        "calibration error": "calibration error",
        "calibration note": "How often an answer is right, by how sure it is. On the line sureness "
        "is what it says; below it the model is surer than it should be. The bars count the "
        "answers.",
        "chosen": "chosen",
        "class": "expression",
        "confidence": "confidence",
        "confusion": "Confusion, faces",
        "confusion axis": "answer →",
        "confusion note": "A row for each true expression, a column for each answer.",
        "copies": "{copies} of {count} faces have an exact or near copy in the training data. A "
        "model may remember these; without them the scores are:",
        "copies all": "All {count} faces have an exact or near copy in the training data: nothing "
        "here says how the model does on faces that it has not seen.",
        "copies none": "None of the {count} faces has a copy in the training data.",
        "copies unknown": "Nobody looked for copies of these faces in the training data "
        "(--training does).",
        "correlation": "Over the {n} pairs of the expressions that have units, overlap and "
        "confusion have a rank correlation of {rho} (Spearman; p = {p}).",
        "correlation neutral": "With neutral, over {n} pairs, it is {rho} (p = {p}).",
        "correlation none": "There are too few pairs, or nothing was confused: there is no "
        "correlation.",
        "costs": "What it costs",
        "coverage": "Accuracy against coverage",
        "coverage axis": "share of the faces answered",
        "coverage note": "The accuracy if only the surest answers are given and the others are "
        "left to a person.",
        "data": "The faces",
        "embed": "To embed all faces",
        "error": "failed: {error}",
        "expected": "overlap",
        "f1": "F1",
        "faces": "{count} faces",
        "failures": "{count} faces could not be read and are left out:",
        "figures": "Confusion, calibration and coverage",
        "fit": "To fit the head",
        "footer": "Made by ferembed {version}. All numbers of a report stand in its report.json.",
        "grid": "What was tried",
        "grid sort": "A click on a heading sorts.",
        "headline": "{count} faces of the split “{split}”",
        "in store": "not measured: the vectors were in the store",
        "least": "least confidence",
        "macro": "mean of the expressions",
        "macro f1": "macro F1",
        "measured": "measured",
        "mistakes": "The worst mistakes",
        "mistakes none": "There is no wrong answer.",
        "mistakes note": "The wrong answers that the model was surest of.",
        "mistakes near": "Beside each face are the training faces whose vectors are nearest, and "
        "how far away they are. Where these have the label that was answered, the model follows "
        "its training data; look whether the label of the face is right.",
        "mistakes lost": "{count} of these pictures cannot be read any more.",
        "more": "and {count} more",
        "nearest": "nearest in training",
        "neutral": "Neutral has no unit, so the overlap expects no confusion with it. A faint "
        "expression shows few of its units and looks neutral: that the measure cannot see, so "
        "neutral is left out of the first number.",
        "no picture": "cannot be read",
        "none": "none",
        "normalised": "Confusion, % of each true expression",
        "not measured": "not measured",
        "numbers": "The scores",
        "p": "Pairs that share an expression are not independent, so p counts all ways to exchange "
        "the expressions’ names (Mantel test, two-sided).",
        "pair": "pair",
        "plot frontier": "The line joins the cells that none betters in both.",
        "plot left out": "Not drawn, for want of this figure: {count}.",
        "plot none": "No cell has this figure.",
        "precision": "precision",
        "predict": "To answer for one face",
        "predicted": "answers",
        "predicted note": "How often each expression is true, and how often it is the answer.",
        "predicted title": "Answers against the truth",
        "psychology": "The expressions’ action units",
        "psychology note": "An expression is made by muscles, the action units of the Facial "
        "Action Coding System. Expressions that share units should be harder to tell apart. The "
        "overlap is the number of common units by all units of the two (Jaccard); beside it "
        "stands how often each is taken for the other, as a share of its faces, the mean of both "
        "directions.",
        "psychology out": "Left out, for want of faces here or of known units: {labels}.",
        "recall": "recall",
        "report": "Report on {model}",
        "shared": "shared units",
        "size": "size on disk, MB",
        "support": "faces",
        "taken": "faces confused",
        "time fit": "seconds to fit",
        "time predict": "milliseconds to answer for one face",
        "tradeoff": "Accuracy against time and size",
        "true": "true",
        "unexplained": "Confusions that the overlap does not explain: more frequent than the "
        "typical pair’s (the median), though no more units are shared than there:",
        "unexplained none": "No pair is confused more than the typical one while it shares no "
        "more units than that.",
        "units": "action units",
        "units note": "In the other colour: confusions that the overlap does not explain.",
        "units title": "Overlap and confusion",
        "weighted": "mean of the faces",
        "weighted f1": "weighted F1",
        "without copies": "without copies",
    },
    "es": {
        "accuracy": "exactitud",
        "all faces": "todas las caras",
        "answer": "respuesta",
        "answered": "respuesta: {answer}, {confidence}",
        "answers": "respuestas",
        "bytes": "Tamaño en disco",
        "calibration": "Calibración",
        "calibration error": "error de calibración",
        "calibration note": "Con qué frecuencia acierta una respuesta, según lo segura que es. En "
        "la línea, la seguridad es lo que dice ser; por debajo, el modelo está más seguro de lo "
        "que debería. Las barras cuentan las respuestas.",
        "chosen": "elegida",
        "class": "expresión",
        "confidence": "seguridad",
        "confusion": "Confusión, caras",
        "confusion axis": "respuesta →",
        "confusion note": "Una fila por expresión verdadera, una columna por respuesta.",
        "copies": "{copies} de {count} caras tienen una copia exacta o casi exacta en los datos de "
        "entrenamiento. Un modelo puede recordarlas; sin ellas, los resultados son:",
        "copies all": "Las {count} caras tienen una copia exacta o casi exacta en los datos de "
        "entrenamiento: nada aquí dice qué hace el modelo con caras que no ha visto.",
        "copies none": "Ninguna de las {count} caras tiene copia en los datos de entrenamiento.",
        "copies unknown": "Nadie ha buscado copias de estas caras en los datos de entrenamiento "
        "(lo hace --training).",
        "correlation": "En los {n} pares de expresiones que tienen unidades, el solapamiento y la "
        "confusión tienen una correlación de rangos de {rho} (Spearman; p = {p}).",
        "correlation neutral": "Con la neutral, en {n} pares, es {rho} (p = {p}).",
        "correlation none": "Hay demasiado pocos pares, o no se ha confundido nada: no hay "
        "correlación.",
        "costs": "Lo que cuesta",
        "coverage": "Exactitud según la cobertura",
        "coverage axis": "parte de las caras respondida",
        "coverage note": "La exactitud si solo se dan las respuestas más seguras y las demás se "
        "dejan a una persona.",
        "data": "Las caras",
        "embed": "Calcular los vectores de todas las caras",
        "error": "ha fallado: {error}",
        "expected": "solapamiento",
        "f1": "F1",
        "faces": "{count} caras",
        "failures": "{count} caras no se han podido leer y quedan fuera:",
        "figures": "Confusión, calibración y cobertura",
        "fit": "Ajustar el clasificador",
        "footer": "Hecho por ferembed {version}. Las cifras de un informe están en su report.json.",
        "grid": "Lo que se ha probado",
        "grid sort": "Un clic en un encabezado ordena.",
        "headline": "{count} caras de la partición «{split}»",
        "in store": "sin medir: los vectores estaban en el almacén",
        "least": "seguridad mínima",
        "macro": "media de las expresiones",
        "macro f1": "F1 macro",
        "measured": "medida",
        "mistakes": "Los peores errores",
        "mistakes none": "No hay ninguna respuesta equivocada.",
        "mistakes note": "Las respuestas equivocadas de las que el modelo estaba más seguro.",
        "mistakes near": "Junto a cada cara están las de entrenamiento con los vectores más "
        "cercanos, y a qué distancia. Si llevan la etiqueta que se ha respondido, el modelo sigue "
        "sus datos de entrenamiento; compruebe si la etiqueta de la cara es correcta.",
        "mistakes lost": "{count} de estas imágenes ya no se pueden leer.",
        "more": "y {count} más",
        "nearest": "las más cercanas del entrenamiento",
        "neutral": "La neutral no tiene unidades, así que el solapamiento no espera que se "
        "confunda con ninguna. Una expresión tenue muestra pocas de sus unidades y parece "
        "neutral: eso la medida no lo ve, y por eso la primera cifra no la incluye.",
        "no picture": "no se puede leer",
        "none": "ninguna",
        "normalised": "Confusión, % de cada expresión verdadera",
        "not measured": "sin medir",
        "numbers": "Los resultados",
        "p": "Los pares que comparten una expresión no son independientes; por eso p cuenta todas "
        "las maneras de intercambiar los nombres de las expresiones (prueba de Mantel, bilateral).",
        "pair": "par",
        "plot frontier": "La línea une las celdas que ninguna otra mejora en ambas cosas.",
        "plot left out": "Sin dibujar, por falta de esta cifra: {count}.",
        "plot none": "Ninguna celda tiene esta cifra.",
        "precision": "precisión",
        "predict": "Responder por una cara",
        "predicted": "respuestas",
        "predicted note": "Cuántas veces es verdadera cada expresión, y cuántas es la respuesta.",
        "predicted title": "Respuestas y verdad",
        "psychology": "Las unidades de acción de las expresiones",
        "psychology note": "Una expresión la hacen los músculos: las unidades de acción del Facial "
        "Action Coding System. Las expresiones que comparten unidades deberían distinguirse peor. "
        "El solapamiento es el número de unidades comunes entre todas las de las dos (Jaccard); a "
        "su lado está con qué frecuencia se toma cada una por la otra, como parte de sus caras, "
        "en la media de ambos sentidos.",
        "psychology out": "Quedan fuera, porque aquí no tienen caras o no se conocen sus unidades: "
        "{labels}.",
        "recall": "exhaustividad",
        "report": "Informe de {model}",
        "shared": "unidades comunes",
        "size": "tamaño en disco, MB",
        "support": "caras",
        "taken": "caras confundidas",
        "time fit": "segundos para ajustar",
        "time predict": "milisegundos para responder por una cara",
        "tradeoff": "Exactitud según el tiempo y el tamaño",
        "true": "verdadera",
        "unexplained": "Confusiones que el solapamiento no explica: más frecuentes que la del par "
        "típico (la mediana), aunque no se comparten más unidades que allí:",
        "unexplained none": "Ningún par se confunde más que el típico sin compartir más unidades "
        "que él.",
        "units": "unidades de acción",
        "units note": "En el otro color: confusiones que el solapamiento no explica.",
        "units title": "Solapamiento y confusión",
        "weighted": "media de las caras",
        "weighted f1": "F1 ponderada",
        "without copies": "sin copias",
    },
}
