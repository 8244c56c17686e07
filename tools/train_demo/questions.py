"""The forty questions that judge the student, fixed before the first training; no training prompt is one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["fact", "arithmetic", "rewriting", "story", "list", "explanation"]


@dataclass(frozen=True)
class Question:
    """`accepted`: an answer with one of these words is right, in any case; empty: not judged."""

    kind: Kind
    text: str
    accepted: tuple[str, ...] = ()


QUESTIONS = (
    Question("fact", "What is the capital of France?", ("paris",)),
    Question("fact", "What is the capital of Japan?", ("tokyo",)),
    Question("fact", "What is the capital of Egypt?", ("cairo",)),
    Question("fact", "Which planet is the largest in our solar system?", ("jupiter",)),
    Question("fact", "Which planet is closest to the Sun?", ("mercury",)),
    Question("fact", "How many days are there in a week?", ("seven", "7")),
    Question("fact", "How many legs does a spider have?", ("eight", "8")),
    Question("fact", "What color is the sky on a clear day?", ("blue",)),
    Question("fact", "Which gas do plants take in from the air?", ("carbon dioxide", "co2")),
    Question("fact", "What is the chemical formula of water?", ("h2o", "h₂o")),
    Question("fact", "Who wrote Romeo and Juliet?", ("shakespeare",)),
    Question("fact", "Who painted the Mona Lisa?", ("leonardo", "da vinci")),
    Question("fact", "What is the largest ocean on Earth?", ("pacific",)),
    Question("fact", "At what temperature in degrees Celsius does water boil?", ("100",)),
    Question("fact", "Which animal is known as the king of the jungle?", ("lion",)),
    Question("fact", "What do bees make?", ("honey",)),
    Question("arithmetic", "What is 2 + 2?", ("4", "four")),
    Question("arithmetic", "What is 5 times 3?", ("15", "fifteen")),
    Question("arithmetic", "What is 10 minus 4?", ("6", "six")),
    Question("arithmetic", "What is half of 8?", ("4", "four")),
    Question("arithmetic", "If I have 3 apples and buy 2 more, how many apples do I have?", ("5", "five")),
    Question("rewriting", "Rewrite this sentence in a polite way: Give me the book."),
    Question("rewriting", "Rewrite this sentence in the past tense: She walks to school."),
    Question("rewriting", "Make this sentence shorter: The very big dog ran very quickly across the green field."),
    Question("rewriting", "Correct the grammar: He go to the market yesterday."),
    Question("rewriting", "Say this in other words: The meeting was cancelled because of the rain."),
    Question("story", "Write a short story about a fox who learns to share."),
    Question("story", "Write a short story about a lighthouse keeper."),
    Question("story", "Tell me a bedtime story about a small robot."),
    Question("story", "Write a short poem about the moon."),
    Question("list", "List five fruits."),
    Question("list", "Name three things to take on a camping trip."),
    Question("list", "List the four seasons."),
    Question("list", "Give me three tips for sleeping better."),
    Question("list", "Name four animals that live in the sea."),
    Question("explanation", "What is photosynthesis, in one sentence?"),
    Question("explanation", "Why do we need to drink water?"),
    Question("explanation", "Explain what a computer is to a child."),
    Question("explanation", "What is the difference between a cat and a dog?"),
    Question("explanation", "How do I make a cup of tea?"),
)
