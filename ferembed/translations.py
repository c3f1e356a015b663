"""Translations: every text that a reader sees in pages and pictures, in English and Spanish."""

from __future__ import annotations

from collections.abc import Mapping

from ferembed.errors import UnknownName
from ferembed.registry import unknown_name_message


class Translator:
    """The texts, labels and numbers of one language.

    >>> tr = Translator("es")
    >>> tr("faces", count=tr.count(3589)), tr.label("happy"), tr.percent(0.5, 0)
    ('3\\u202f589 caras', 'Alegría', '50\\xa0%')
    """

    def __init__(self, language: str) -> None:
        if language not in TEXTS:
            raise UnknownName(unknown_name_message("language", language, list(TEXTS)))
        self.language = language

    def __call__(self, key: str, **fields: object) -> str:
        return TEXTS[self.language][key].format(**fields)

    def label(self, label: str) -> str:
        """The name of an expression; any other label as it is."""
        return LABELS[self.language].get(label, label)

    def count(self, number: int) -> str:
        """A whole number with separators between thousands."""
        text = f"{number:,}"
        return text if self.language == "en" else text.replace(",", "\u202f")

    def percent(self, share: float, digits: int = 2) -> str:
        text = f"{share:.{digits}%}"
        return text if self.language == "en" else text.replace("%", "\u00a0%")


LABELS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "angry": "Angry",
        "disgust": "Disgust",
        "fear": "Fear",
        "happy": "Happy",
        "sad": "Sad",
        "surprise": "Surprise",
        "neutral": "Neutral",
        "contempt": "Contempt",
    },
    "es": {
        "angry": "Enfado",
        "disgust": "Asco",
        "fear": "Miedo",
        "happy": "Alegría",
        "sad": "Tristeza",
        "surprise": "Sorpresa",
        "neutral": "Neutral",
        "contempt": "Desprecio",
    },
}

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "accuracy": "accuracy",
        "backbone": "Backbone",
        "confusion columns": "The last columns count the predictions of each expression.",
        "date": "Evaluated",
        "defaults": "the defaults",
        "detector": "Detector",
        "head": "Head",
        "in training": "{duplicates} of {count} faces have a duplicate in the training data",
        "parameters": "Parameters of the head",
        "scored on": "Scored on the {split} split.",
        "scored on all": "Scored on all faces, because the data set has no splits. If the model "
        "was trained on some of them, the scores are optimistic.",
        "scores": "{count} faces: accuracy {accuracy}, macro F1 {macro_f1}, calibration error "
        "{error}",
        "scores of occurring": "{count} faces: accuracy {accuracy}, macro F1 {macro_f1} over the "
        "{classes} classes that occur, calibration error {error}",
        "scores without": "; without them: accuracy {accuracy}, macro F1 {macro_f1}",
        "setup": "The model",
        "written": "Written: {files}.",
        "all faces": "all faces",
        "bytes": "Size on disk",
        "calibration": "Calibration",
        "calibration error": "calibration error",
        "calibration note": "Accuracy of the predictions at each confidence. On the dashed line "
        "the two are equal; below it the model is overconfident. The bars show the number of "
        "predictions.",
        "chosen": "chosen",
        "class": "expression",
        "confidence": "confidence",
        "confusion": "Confusion matrix, faces",
        "confusion axis": "predicted →",
        "confusion note": "One row per true expression, one column per predicted expression.",
        "correlation": "Over the {n} pairs of expressions that have action units, overlap and "
        "confusion have a rank correlation of {rho} (Spearman; p = {p}).",
        "correlation neutral": "With neutral, over {n} pairs, it is {rho} (p = {p}).",
        "correlation none": "There are too few pairs, or no confusions: the correlation is "
        "undefined.",
        "costs": "Time and size",
        "coverage": "Accuracy at each coverage",
        "coverage axis": "share of the faces that get a prediction",
        "coverage note": "Accuracy if only the most confident predictions are used and a person "
        "decides the others.",
        "data": "The faces",
        "deduplicated": "without duplicates",
        "duplicates": "{duplicates} of {count} faces have a duplicate or near-duplicate in the "
        "training data. A model may remember these. The scores without them:",
        "duplicates all": "All {count} faces have a duplicate or near-duplicate in the training "
        "data, so these scores do not show how the model does on new faces.",
        "duplicates none": "None of the {count} faces has a duplicate in the training data.",
        "duplicates unknown": "The training data was not searched for duplicates of these faces "
        "(use --training).",
        "embed": "Embedding all faces",
        "error": "failed: {error}",
        "expected": "overlap",
        "f1": "F1",
        "faces": "{count} faces",
        "failures": "{count} faces could not be read and were skipped:",
        "figures": "Confusion, calibration and coverage",
        "fit": "Fitting the head",
        "footer": "Made by ferembed {version}. The file report.json holds all numbers of a report.",
        "grid": "Pipelines tried",
        "grid sort": "Click a heading to sort.",
        "headline": "{count} faces of the split “{split}”",
        "in store": "not measured: the vectors were in the store",
        "least": "lowest confidence",
        "macro": "macro average",
        "macro f1": "macro F1",
        "measured": "confusion",
        "mistakes": "The most confident mistakes",
        "mistakes lost": "{count} of these pictures can no longer be read.",
        "mistakes near": "Below each face are the nearest training faces and the distances of "
        "their vectors. Where they have the predicted label, the model follows its training data: "
        "check whether the label of the face is right.",
        "mistakes none": "All predictions are right.",
        "mistakes note": "The wrong predictions with the highest confidence.",
        "more": "and {count} more",
        "nearest": "nearest training faces",
        "neutral": "Neutral has no action units, so its overlap with every expression is 0. A "
        "faint expression shows few of its units and looks neutral. The measure does not see that, "
        "so the first correlation excludes neutral.",
        "no picture": "cannot be read",
        "none": "none",
        "normalised": "Confusion matrix, % of each true expression",
        "not measured": "not measured",
        "numbers": "Scores",
        "p": "Pairs that share an expression are not independent, so p comes from all permutations "
        "of the expressions’ names (Mantel test, two-sided).",
        "pair": "pair",
        "people more": "and {count} more people, seen in fewer frames",
        "person": "Person {number}",
        "person line": "{person}, {start:.1f} to {end:.1f} s: {shares}",
        "plot frontier": "The line is the Pareto front.",
        "plot left out": "Not drawn because this value is missing: {count}.",
        "plot none": "No pipeline has this value.",
        "precision": "precision",
        "predict": "Predicting one face",
        "predicted": "predicted",
        "predicted note": "Frequency of each expression among the labels and among the "
        "predictions.",
        "predicted title": "Predictions and labels",
        "prediction": "predicted {label}, {confidence}",
        "predictions": "predictions",
        "psychology": "Action units of the expressions",
        "psychology note": "Muscles make an expression: the action units of the Facial Action "
        "Coding System. Expressions that share units should be harder to tell apart. The overlap "
        "is the number of common units divided by the number of all units of the two (Jaccard). "
        "The confusion is the share of faces of one expression predicted as the other, averaged "
        "over both directions.",
        "psychology out": "Excluded, because they have no faces here or no known units: {labels}.",
        "recall": "recall",
        "report": "Report on {model}",
        "shared": "shared units",
        "size": "size on disk, MB",
        "support": "faces",
        "taken": "faces confused",
        "time fit": "fit time, s",
        "time predict": "latency of one face, ms",
        "tradeoff": "Accuracy, time and size",
        "true": "true",
        "unexplained": "Confusions that the overlap does not explain: more frequent than for the "
        "median pair, with no more shared units:",
        "unexplained none": "No pair is confused more than the median pair without sharing more "
        "units.",
        "units": "action units",
        "units note": "In the second colour: confusions that the overlap does not explain.",
        "units title": "Overlap and confusion",
        "video no face": "No face was found.",
        "weighted": "weighted average",
        "weighted f1": "weighted F1",
    },
    "es": {
        "accuracy": "exactitud",
        "backbone": "Red base",
        "confusion columns": "Las últimas columnas cuentan las predicciones de cada expresión.",
        "date": "Evaluado",
        "defaults": "los predeterminados",
        "detector": "Detector",
        "head": "Clasificador",
        "in training": "{duplicates} de {count} caras tienen un duplicado en los datos de "
        "entrenamiento",
        "parameters": "Parámetros del clasificador",
        "scored on": "Evaluado en la partición {split}.",
        "scored on all": "Evaluado en todas las caras, porque el conjunto de datos no tiene "
        "particiones. Si el modelo se entrenó con algunas de ellas, los resultados son optimistas.",
        "scores": "{count} caras: exactitud {accuracy}, F1 macro {macro_f1}, error de calibración "
        "{error}",
        "scores of occurring": "{count} caras: exactitud {accuracy}, F1 macro {macro_f1} en las "
        "{classes} clases presentes, error de calibración {error}",
        "scores without": "; sin ellas: exactitud {accuracy}, F1 macro {macro_f1}",
        "setup": "El modelo",
        "written": "Escritos: {files}.",
        "all faces": "todas las caras",
        "bytes": "Tamaño en disco",
        "calibration": "Calibración",
        "calibration error": "error de calibración",
        "calibration note": "Exactitud de las predicciones con cada confianza. En la línea "
        "discontinua son iguales; por debajo, el modelo confía demasiado. Las barras indican el "
        "número de predicciones.",
        "chosen": "elegida",
        "class": "expresión",
        "confidence": "confianza",
        "confusion": "Matriz de confusión, caras",
        "confusion axis": "predicha →",
        "confusion note": "Una fila por expresión verdadera, una columna por expresión predicha.",
        "correlation": "En los {n} pares de expresiones con unidades de acción, el solapamiento y "
        "la confusión tienen una correlación de rangos de {rho} (Spearman; p = {p}).",
        "correlation neutral": "Con la neutral, en {n} pares, es {rho} (p = {p}).",
        "correlation none": "Hay muy pocos pares o ninguna confusión: la correlación no está "
        "definida.",
        "costs": "Tiempo y tamaño",
        "coverage": "Exactitud según la cobertura",
        "coverage axis": "parte de las caras con predicción",
        "coverage note": "Exactitud si solo se usan las predicciones más confiadas y una persona "
        "decide las demás.",
        "data": "Las caras",
        "deduplicated": "sin duplicados",
        "duplicates": "{duplicates} de {count} caras tienen un duplicado o casi duplicado en los "
        "datos de entrenamiento. Un modelo puede recordarlas. Los resultados sin ellas:",
        "duplicates all": "Las {count} caras tienen un duplicado o casi duplicado en los datos de "
        "entrenamiento: estos resultados no muestran qué hace el modelo con caras nuevas.",
        "duplicates none": "Ninguna de las {count} caras tiene un duplicado en los datos de "
        "entrenamiento.",
        "duplicates unknown": "No se han buscado duplicados de estas caras en los datos de "
        "entrenamiento (use --training).",
        "embed": "Calcular los vectores de todas las caras",
        "error": "ha fallado: {error}",
        "expected": "solapamiento",
        "f1": "F1",
        "faces": "{count} caras",
        "failures": "{count} caras no se han podido leer y se han omitido:",
        "figures": "Confusión, calibración y cobertura",
        "fit": "Ajustar el clasificador",
        "footer": "Hecho por ferembed {version}. El archivo report.json contiene todas las cifras "
        "de un informe.",
        "grid": "Configuraciones probadas",
        "grid sort": "Haga clic en un encabezado para ordenar.",
        "headline": "{count} caras de la partición «{split}»",
        "in store": "sin medir: los vectores estaban en el almacén",
        "least": "confianza mínima",
        "macro": "media macro",
        "macro f1": "F1 macro",
        "measured": "confusión",
        "mistakes": "Los errores con más confianza",
        "mistakes lost": "{count} de estas imágenes ya no se pueden leer.",
        "mistakes near": "Debajo de cada cara están las caras de entrenamiento más cercanas y las "
        "distancias de sus vectores. Si llevan la etiqueta predicha, el modelo sigue sus datos de "
        "entrenamiento: compruebe si la etiqueta de la cara es correcta.",
        "mistakes none": "Todas las predicciones son correctas.",
        "mistakes note": "Las predicciones equivocadas con la confianza más alta.",
        "more": "y {count} más",
        "nearest": "caras de entrenamiento más cercanas",
        "neutral": "La neutral no tiene unidades de acción, así que su solapamiento con cualquier "
        "expresión es 0. Una expresión tenue muestra pocas de sus unidades y parece neutral. La "
        "medida no lo ve, y por eso la primera correlación excluye la neutral.",
        "no picture": "no se puede leer",
        "none": "ninguna",
        "normalised": "Matriz de confusión, % de cada expresión verdadera",
        "not measured": "sin medir",
        "numbers": "Resultados",
        "p": "Los pares que comparten una expresión no son independientes; por eso p se calcula "
        "con todas las permutaciones de los nombres de las expresiones (prueba de Mantel, "
        "bilateral).",
        "pair": "par",
        "people more": "y {count} personas más, vistas en menos fotogramas",
        "person": "Persona {number}",
        "person line": "{person}, {start:.1f} a {end:.1f} s: {shares}",
        "plot frontier": "La línea es el frente de Pareto.",
        "plot left out": "Sin dibujar porque falta este valor: {count}.",
        "plot none": "Ninguna configuración tiene este valor.",
        "precision": "precisión",
        "predict": "Predecir una cara",
        "predicted": "predicha",
        "predicted note": "Frecuencia de cada expresión entre las etiquetas y entre las "
        "predicciones.",
        "predicted title": "Predicciones y etiquetas",
        "prediction": "predicción: {label}, {confidence}",
        "predictions": "predicciones",
        "psychology": "Unidades de acción de las expresiones",
        "psychology note": "Los músculos forman una expresión: las unidades de acción del Facial "
        "Action Coding System. Las expresiones que comparten unidades deberían distinguirse peor. "
        "El solapamiento es el número de unidades comunes dividido por el de todas las unidades de "
        "las dos (Jaccard). La confusión es la parte de las caras de una expresión que se predicen "
        "como la otra, en la media de ambos sentidos.",
        "psychology out": "Excluidas, porque aquí no tienen caras o no se conocen sus unidades: "
        "{labels}.",
        "recall": "exhaustividad",
        "report": "Informe de {model}",
        "shared": "unidades comunes",
        "size": "tamaño en disco, MB",
        "support": "caras",
        "taken": "caras confundidas",
        "time fit": "tiempo de ajuste, s",
        "time predict": "latencia de una cara, ms",
        "tradeoff": "Exactitud, tiempo y tamaño",
        "true": "verdadera",
        "unexplained": "Confusiones que el solapamiento no explica: más frecuentes que en el par "
        "mediano, sin más unidades comunes:",
        "unexplained none": "Ningún par se confunde más que el par mediano sin compartir más "
        "unidades.",
        "units": "unidades de acción",
        "units note": "En el segundo color: confusiones que el solapamiento no explica.",
        "units title": "Solapamiento y confusión",
        "video no face": "No se ha encontrado ninguna cara.",
        "weighted": "media ponderada",
        "weighted f1": "F1 ponderada",
    },
}
