"""What the teacher is asked so that it writes chats: forms of a question times things to ask about.

The forty questions that judge the student never come up. A subject is either trained on or held out, as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from shoestring.train.questions import QUESTIONS

COUNTRIES = """
Italy; Spain; Germany; England; Portugal; Greece; Poland; Sweden; Norway; Finland; Denmark; Ireland; Austria;
Hungary; Turkey; Russia; China; India; Korea; Thailand; Vietnam; Indonesia; Australia; Canada; Mexico; Brazil;
Argentina; Peru; Chile; Cuba; Kenya; Morocco; Ethiopia; Nigeria; Ghana; Iran; Iraq; Israel; Nepal; Mongolia;
Belgium; Switzerland; Netherlands; Colombia; Ukraine; Iceland
""".replace("\n", " ").split(";")

SUBJECTS = """
the water cycle; gravity; electricity; magnets; volcanoes; earthquakes; the moon; the stars; the Sun;
rainbows; clouds; snow; wind; the ocean; rivers; mountains; deserts; rainforests; the North Pole; dinosaurs;
whales; elephants; penguins; owls; horses; butterflies; ants; spiders; sharks; wolves; bears; frogs; trees;
flowers; mushrooms; seeds; soil; rocks; gold; iron; glass; paper; plastic; wood; bread; cheese; milk; rice;
coffee; chocolate; sugar; salt; apples; tomatoes; potatoes; vegetables; breakfast; cooking; baking; gardening;
painting; drawing; music; the piano; the guitar; singing; dancing; football; swimming; running; chess;
reading; writing; poetry; history; geography; mathematics; fractions; multiplication; science; chemistry;
physics; biology; the human heart; the brain; bones; muscles; the eye; teeth; blood; vitamins; sleep;
exercise; stress; friendship; kindness; honesty; courage; patience; teamwork; school; teachers; homework;
libraries; museums; hospitals; doctors; farmers; pilots; engineers; money; banks; shopping; trains; airplanes;
bicycles; ships; cars; bridges; castles; pyramids; the Roman Empire; the Middle Ages;
the Industrial Revolution; democracy; laws; elections; cities; villages; houses; windows; clocks; calendars;
maps; compasses; telescopes; microscopes; telephones; radio; television; the internet; email; robots;
programming; algorithms; batteries; solar energy; wind power; recycling; pollution; climate change; forests;
bees and flowers; birds; fish; cats; dogs; rabbits; mice; cows; chickens; honey; fire; ice; steam; light;
sound; heat; time; space travel; planets; comets; satellites; atoms; cells; DNA; evolution; language; letters;
numbers; colors; shapes; circles; triangles; maps of the world; holidays; birthdays; weddings; gifts;
families; grandparents; babies; dreams; memory; learning; practice; mistakes; jobs; interviews; meetings;
planning; travel; beaches; islands; lakes; waterfalls; caves; winter; spring; summer; autumn; rain; storms;
lightning; fog; tea ceremonies
""".replace("\n", " ").split(";")

HEROES = """
a dragon; a young girl; an old fisherman; a lost kitten; a brave mouse; a wise owl; a clever crow;
a shy turtle; a king; a queen; a baker; a tailor; a sailor; a shepherd; a clockmaker; a painter; two friends;
three brothers; a talking tree; a tiny seed; a cloud; a snowman; a wizard; a princess; a pirate;
a farmer and his horse; a bear cub; a lonely giant; a magic pencil; a boy and his dog; a grandmother;
a music teacher; an astronaut; a train driver; a squirrel; a rabbit; a family of ducks
""".replace("\n", " ").split(";")

LESSONS = """
who finds a hidden door; who is afraid of the dark; who makes a new friend; who learns to be patient;
who saves the village; who loses something precious; who travels to the sea; who tells the truth;
who helps a stranger; who wants to fly
""".replace("\n", " ").split(";")

SENTENCES = """
I am very tired today.; The cat sat on the mat.; He does not like to eat fish.;
We went to the park because it was sunny.; The old man walked slowly down the street.;
She bought a new dress for the party.; They are going to build a house.;
My brother plays the guitar every evening.; The train was late so we missed the show.;
You must finish your work now.; The children were playing in the garden.; I want a glass of water.;
The book was very interesting and I read it in one day.; Her answer was not correct.; Open the window.;
It is cold outside.; The teacher explained the lesson again.; He runs fast.; The soup is too hot to eat.;
Close the door.; Our team won the game.; I can not find my keys.; The movie was boring.; Tell me your name.;
The dog barked at the mailman all morning long.; She is afraid of spiders.;
We need more time to finish the project.
""".replace("\n", " ").split(";")

COLLECTIONS = """
vegetables; countries in Europe; musical instruments; farm animals; birds; colors; tools; sports; flowers;
trees; kinds of weather; parts of the body; kitchen tools; pieces of furniture; school subjects; jobs;
planets; languages; rivers; cities; insects; desserts; drinks; board games; holidays; clothes;
things in an office; wild animals; kinds of music; hobbies
""".replace("\n", " ").split(";")

ADVICE = """
learning a language; saving money; studying for a test; staying healthy; making friends; cleaning a room;
writing a letter; growing tomatoes; training a puppy; riding a bicycle; cooking pasta; packing a suitcase;
giving a speech; keeping a diary; being on time; reading more books; drawing better; running a race;
planning a party; working from home; calming down; eating well
""".replace("\n", " ").split(";")

ABOUT = (
    "What is {}?", "Tell me about {}.", "Explain {} in simple words.", "Why is {} important?",
    "Write a paragraph about {}.",
    "Give me three facts about {}.", "What should a child know about {}?", "Describe {} in two sentences.",
    "What are the benefits of {}?", "Write a short poem about {}.", "How does {} affect our lives?",
    "Ask me a question about {} and answer it.", "What is the history of {}?", "Summarize what is known about {}.",
)  # fmt: skip


def prompts(seed: int, held_out: bool) -> Iterator[str]:
    """Questions without end, in an order that the seed fixes; of the held-out subjects or of the others."""
    chance = random.Random(seed)
    taken = {question.text for question in QUESTIONS}
    form: tuple[str, ...]

    def pick(things: list[str]) -> str:
        """Every eighth thing is held out."""
        mine = [thing.strip() for i, thing in enumerate(things) if (i % 8 == 5) == held_out]
        return chance.choice(mine)

    while True:
        match chance.randrange(13):
            case 0:
                form = ("What is the capital of {}?", "Tell me about {}.", "Where is {}?", "What do people eat in {}?",
                        "What language do they speak in {}?", "Name a city in {}.")  # fmt: skip
                text = chance.choice(form).format(pick(COUNTRIES))
            case 1:
                text = _arithmetic(chance, held_out)
            case 2 | 3:
                form = ("Write a short story about {} {}.", "Tell me a story about {} {}.",
                        "Write the beginning of a story about {} {}.")  # fmt: skip
                text = chance.choice(form).format(pick(HEROES), pick(LESSONS))
            case 4 | 5:
                form = ("Rewrite this sentence in a polite way: {}", "Rewrite this sentence in the past tense: {}",
                        "Make this sentence shorter: {}", "Make this sentence longer: {}",
                        "Say this in other words: {}",
                        "Correct the grammar: {}", "Turn this into a question: {}")  # fmt: skip
                text = chance.choice(form).format(pick(SENTENCES))
            case 6 | 7:
                number = chance.choice(("three", "four", "five", "six", "ten"))
                form = ("List {} {}.", "Name {} {}.", "Give me a list of {} {}.")
                text = chance.choice(form).format(number, pick(COLLECTIONS))
            case 8:
                form = ("Give me three tips for {}.", "How do I get better at {}?", "Give me advice about {}.",
                        "What are the first steps for {}?")  # fmt: skip
                text = chance.choice(form).format(pick(ADVICE))
            case _:
                text = chance.choice(ABOUT).format(pick(SUBJECTS))
        if text not in taken:
            yield text


def _arithmetic(chance: random.Random, held_out: bool) -> str:
    """One step; sums with a 7 in them are held out."""
    while True:
        a, b = chance.randint(1, 20), chance.randint(1, 12)
        if ("7" in f"{a} {b}") != held_out:
            continue
        forms = (f"What is {a} + {b}?", f"What is {a + b} minus {b}?", f"What is {a} times {b}?", f"Add {a} and {b}.",
                 f"I have {a} coins and find {b} more. How many coins do I have?")  # fmt: skip
        return chance.choice(forms)
