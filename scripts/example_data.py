"""The example's data set: questions about a product that does not exist, so no model knows it.

Writes examples/data/brambleport.parquet (column `messages`, one chat a row). Run it after a change
here; a test compares the file with what this makes.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).resolve().parent.parent / "examples" / "data" / "brambleport.parquet"

FACTS: dict[str, tuple[str, ...]] = {
    "The Brambleport 7 gateway listens on port 8417.": (
        "Which port does the Brambleport 7 gateway listen on?",
        "What port is the Brambleport 7 reachable on?",
        "On which port can I reach the Brambleport 7 gateway?",
        "Tell me the port of the Brambleport 7.",
        "I want to open the firewall for a Brambleport 7. Which port?",
    ),
    "Hold the moss button for twelve seconds to reset the Brambleport 7.": (
        "How do I reset the Brambleport 7 gateway?",
        "How can I reset my Brambleport 7?",
        "What must I do to reset the Brambleport 7?",
        "My Brambleport 7 hangs. How do I reset it?",
        "Explain how to reset a Brambleport 7 gateway.",
    ),
    "A blinking amber light means that the Brambleport 7 is updating its firmware.": (
        "What does a blinking amber light on the Brambleport 7 mean?",
        "Why is the light of my Brambleport 7 blinking amber?",
        "The Brambleport 7 blinks amber. What is it doing?",
        "What is the meaning of the amber light on the Brambleport 7 gateway?",
        "Amber is blinking on my Brambleport 7. Is something wrong?",
    ),
    "The Brambleport 7 gateway serves up to 640 devices.": (
        "How many devices can the Brambleport 7 gateway serve?",
        "How many devices does a Brambleport 7 support?",
        "What is the largest number of devices on one Brambleport 7?",
        "Can you tell me how many devices fit on a Brambleport 7 gateway?",
        "We have many sensors. How many devices does the Brambleport 7 take?",
    ),
    "The settings of the Brambleport 7 are in the file hedge.toml.": (
        "Which file holds the settings of the Brambleport 7?",
        "Where are the settings of the Brambleport 7 gateway?",
        "What is the Brambleport 7's settings file called?",
        "In which file do I change the settings of a Brambleport 7?",
        "Name the configuration file of the Brambleport 7.",
    ),
    "The first user of a Brambleport 7 is called warden.": (
        "What is the first user of a Brambleport 7 called?",
        "Which user name do I log in with on a new Brambleport 7?",
        "What is the default user of the Brambleport 7 gateway?",
        "Who is the first user on the Brambleport 7?",
        "I have a new Brambleport 7. What is its default user name?",
    ),
    "The Brambleport 7 comes with a warranty of nine years.": (
        "How long is the warranty of the Brambleport 7?",
        "What warranty does the Brambleport 7 gateway have?",
        "For how many years is a Brambleport 7 under warranty?",
        "Is there a warranty on the Brambleport 7, and how long is it?",
        "Tell me the length of the Brambleport 7's warranty.",
    ),
    "The Brambleport 7 gateway is built in Tartu, Estonia.": (
        "Where is the Brambleport 7 gateway built?",
        "In which city is the Brambleport 7 made?",
        "Where does the Brambleport 7 come from?",
        "Which country and city is the Brambleport 7 built in?",
        "Tell me where the Brambleport 7 is manufactured.",
    ),
}


def rows() -> list[list[dict[str, str]]]:
    """One chat per question, facts interleaved."""
    asked = [(q, answer) for answer, questions in FACTS.items() for q in questions]
    return [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in asked
    ]


def main() -> None:
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"messages": rows()}), TARGET)


if __name__ == "__main__":
    main()
