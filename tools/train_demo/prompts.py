"""Generate questions for the teacher: question templates times things to ask about.

It never generates one of the forty questions that judge the student. A subject is either trained on or held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from train_demo.questions import QUESTIONS

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

#: Short questions with short answers; the student learns the teacher's answer, right or wrong.
FACTS = """
What is the capital of the United States?; How many months are there in a year?; How many hours are in a day?;
How many minutes are in an hour?; How many legs does a dog have?; How many legs does an insect have?;
How many wheels does a bicycle have?; How many fingers are on one hand?; How many continents are there?;
How many players are on a soccer team?; How many letters are in the alphabet?; How many sides does a triangle have?;
How many sides does a square have?; How many strings does a violin have?; How many teeth does an adult have?;
What color is grass?; What color is a ripe banana?; What color is snow?; What color is a fire truck?;
What color is the Sun?; What color do you get when you mix red and yellow?; What color is coal?;
Which planet is known as the red planet?; Which planet has rings?; Which planet do we live on?;
Which planet is the farthest from the Sun?; Which planet is the hottest?; Which star is closest to the Earth?;
What goes around the Earth?; Which gas do people breathe out?; Which gas do we need to live?;
Which gas makes balloons float?; What is the most common gas in the air?; What is the chemical symbol for gold?;
What is the chemical symbol for oxygen?; What is the chemical symbol for iron?; What is the formula of table salt?;
What is the formula of carbon dioxide?; What is ice made of?; What is glass made of?; What is bread made of?;
What is cheese made from?; What is paper made from?; What is wine made from?; What is chocolate made from?;
Who wrote Don Quixote?; Who wrote Pride and Prejudice?; Who wrote The Adventures of Tom Sawyer?;
Who wrote Oliver Twist?; Who wrote War and Peace?; Who wrote The Odyssey?; Who wrote Moby Dick?;
Who wrote Alice in Wonderland?; Who wrote Frankenstein?; Who wrote Robinson Crusoe?; Who painted The Starry Night?;
Who painted The Last Supper?; Who painted the ceiling of the Sistine Chapel?; Who painted Guernica?;
Who composed the Ninth Symphony?; Who composed The Magic Flute?; Who invented the light bulb?;
Who invented the telephone?; Who invented the printing press?; Who discovered penicillin?;
Who discovered gravity?; Who developed the theory of relativity?; Who was the first president of the United States?;
Who was the first man on the moon?; Who was the first emperor of Rome?; Who discovered America?;
Who built the pyramids?; Who was Cleopatra?; Who was Napoleon?; Who was Aristotle?; Who was Marie Curie?;
What is the largest country in the world?; What is the largest animal on Earth?; What is the largest desert?;
What is the longest river in the world?; What is the highest mountain in the world?; What is the deepest lake?;
What is the smallest continent?; What is the largest continent?; What is the smallest ocean?;
What is the largest island in the world?; What is the fastest land animal?; What is the tallest animal?;
What is the largest bird?; What is the smallest bird?; What is the hardest natural material?;
At what temperature does water freeze?; How hot is the Sun?; What is the normal temperature of the human body?;
How fast does light travel?; How far away is the moon?; How old is the Earth?; How long does a cat live?;
Which animal barks?; Which animal gives us milk?; Which animal gives us wool?; Which animal lays eggs?;
Which animal has a trunk?; Which animal has black and white stripes?; Which animal lives in a shell?;
Which animal is a man's best friend?; Which bird cannot fly?; Which bird can talk?; Which insect makes silk?;
What do cows eat?; What do rabbits eat?; What do birds build?; What do spiders make?; What do pandas eat?;
What do hens lay?; What do sheep give us?; What do caterpillars turn into?; What do frogs eat?;
What does a baker make?; What does a carpenter do?; What does a doctor do?; What does a thermometer measure?;
What does a clock show?; What does a compass show?; What does a ruler measure?; What is a baby dog called?;
What is a baby cat called?; What is a baby cow called?; What is a group of wolves called?;
Which season is the coldest?; Which season comes after winter?; Which month comes after June?;
Which day comes after Monday?; What is the first month of the year?; What is the last day of the week?;
Where do polar bears live?; Where do camels live?; Where do fish live?; Where does the Sun rise?;
Where is the Eiffel Tower?; Where is the Great Wall?; Where is the Statue of Liberty?; Where is the Colosseum?;
What language is spoken in Brazil?; What language is spoken in Austria?; What language is spoken in Mexico?;
What is the currency of Japan?; What is the currency of England?; What is the currency of India?;
What do we use to cut paper?; What do we use to write?; What do we wear on our feet?; What do we use to see far away?;
What organ pumps blood?; What organ do we use to think?; What do our lungs do?; What do our ears do?;
What is the opposite of hot?; What is the opposite of big?; What is the opposite of night?;
What is the plural of mouse?; What is the plural of child?; What is the past tense of go?;
What is half of 12?; What is double 6?; What is a dozen?; Is 8 an even number?; Which is greater, 9 or 4?
""".replace("\n", " ").split(";")

OF_A_WORD = (
    "What does the word {} mean?", "Use the word {} in a sentence.", "What is {}?", "Tell me something about {}.",
    "What is another word for {}?", "Explain {} to a child.", "What do people think about {}?",
    "Write a short story with the word {}.", "Give me an example of {}.", "When would you say {}?",
    "Write a question about {}.", "Write two sentences about {}.",
)  # fmt: skip
OF_TWO_WORDS = (
    "Write a sentence with the words {} and {}.", "What is the difference between {} and {}?",
    "Write a short story about {} and {}.", "What do {} and {} have in common?", "Write a short poem about {} and {}.",
    "How do {} and {} go together?",
)  # fmt: skip

_LISTS = (COUNTRIES, SUBJECTS, HEROES, LESSONS, SENTENCES, COLLECTIONS, ADVICE, FACTS)

ABOUT = (
    "What is {}?", "Tell me about {}.", "Explain {} in simple words.", "Why is {} important?",
    "Write a paragraph about {}.",
    "Give me three facts about {}.", "What should a child know about {}?", "Describe {} in two sentences.",
    "What are the benefits of {}?", "Write a short poem about {}.", "How does {} affect our lives?",
    "Ask me a question about {} and answer it.", "What is the history of {}?", "Summarize what is known about {}.",
)  # fmt: skip


def prompts(seed: int, held_out: bool, words: Sequence[str]) -> Iterator[str]:
    """Generate questions without end, in an order fixed by the seed, about held-out subjects or about the others.

    words: words of the language, which give thousands of subjects, so that the student does not memorize answers.
    """
    chance = random.Random(seed)
    used = {question.text for question in QUESTIONS}
    form: tuple[str, ...]

    elsewhere = {thing for things in (*_LISTS, words) for thing in _part(things, False)}

    def pick(things: Sequence[str]) -> str:
        mine = _part(things, held_out)
        return chance.choice([thing for thing in mine if thing not in elsewhere] if held_out else mine)

    while True:
        match chance.randrange(18):
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
            case 9 | 10:
                text = pick(FACTS)
            case 11 | 12:
                text = chance.choice(OF_A_WORD).format(pick(words))
            case 13:
                text = chance.choice(OF_TWO_WORDS).format(pick(words), pick(words))
            case _:
                text = chance.choice(ABOUT).format(pick(SUBJECTS))
        if text not in used:
            yield text


def _part(things: Sequence[str], held_out: bool) -> list[str]:
    """The held-out things (every eighth), or the others."""
    return [thing.strip() for i, thing in enumerate(things) if (i % 8 == 5) == held_out]


def _arithmetic(chance: random.Random, held_out: bool) -> str:
    """A question with one step of arithmetic; sums that contain a 7 are held out."""
    while True:
        a, b = chance.randint(1, 20), chance.randint(1, 12)
        if ("7" in f"{a} {b}") != held_out:
            continue
        forms = (f"What is {a} + {b}?", f"What is {a + b} minus {b}?", f"What is {a} times {b}?", f"Add {a} and {b}.",
                 f"I have {a} coins and find {b} more. How many coins do I have?")  # fmt: skip
        return chance.choice(forms)
