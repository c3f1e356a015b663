from ferembed.drawing import font


def test_the_font_has_the_letters_of_the_spanish_labels():
    letters = font(40)
    missing = bytes(letters.getmask("\uffff"))
    for letter in "áéíóúüñÁÉÍÓÚÑ":
        assert bytes(letters.getmask(letter)) != missing
        assert letters.getmask(letter).getbbox()
