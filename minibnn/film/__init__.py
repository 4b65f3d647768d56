"""Films of trainings: what changed in a network, frame by frame, to be replayed.

`record.py` has the callback that takes the frames, `frames.py` what a frame is and which ones are
kept, `wall.py` which bits are shown. `data.py` has the film as arrays, and `file.py` its file.
"""

from minibnn.film.data import Film
from minibnn.film.file import FilmFileError, load_film, save_film
from minibnn.film.record import TrainingFilm

__all__ = ["Film", "FilmFileError", "TrainingFilm", "load_film", "save_film"]
