"""Short stories about a subject, and questions about the story just told.

A story is an arc: a row of beats, each told in one of a few ways. Slots are filled from words.py; what the
slots were is kept, so that questions about the story have answers.
"""

import re

from words import *

EVAL = set(EVAL_NOUNS) | set(EVAL_ADJECTIVES)
KINDS = {k: [w for w in v if w not in EVAL] for k, v in {
    "animal": ANIMALS, "person": PEOPLE, "machine": MACHINES, "thing": THINGS, "place": PLACES}.items()}
ADJ = [a for a in ADJECTIVES if a not in EVAL]


WHOLE = [w for w in ANIMALS + PEOPLE + MACHINES + THINGS + PLACES + ADJECTIVES + THEMES + list(DEFINITIONS)
         if len(w) > 3 and w.isalpha() and w not in EVAL]
WHOLE += W("""over under after near home some any every no one two first last out down away back without along through with there here
very never often always about could would thought came went little garden other another many much more most each both sight""")


def a(np):
    """The noun phrase with its indefinite article."""
    w = np.lower()
    vowel = w[0] in "aeiou" + VOWEL and not re.match(r"(uni|use|uma|eu|one|ukul|utensil)", w) or re.match(r"(hour|honest|heir)", w)
    return ("an " if vowel else "a ") + np


def cap(s):
    return s[0].upper() + s[1:]


# Stand for a word of random tokens, which only the tokenizer knows: see spell in train.py. One takes "a", one "an".
CONSONANT, VOWEL = "\ue000", "\ue001"


def pretend_word(r):
    """A word that does not exist, so that the model learns to copy what it has never seen."""
    x = r.random()
    if x < 0.45:  # the head of one word and the tail of another
        u, v = r.choice(WHOLE), r.choice(WHOLE)
        return (u[:r.randint(1, len(u) - 1)] + v[r.randint(1, len(v) - 1):]) or pretend_word(r)
    if x < 0.65:
        one = [w for w in ANIMALS + THINGS + PLACES + MACHINES if " " not in w and "-" not in w and w not in EVAL]
        return r.choice(one) + r.choice(one)
    on = "b br c ch cl cr d dr f fl fr g gl gr h j k kn l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr tw v w wh y z".split()
    nu = "a e i o u ai ea ee ie oa oo ou ar er or".split()
    co = ["", "", "n", "r", "l", "s", "t", "m", "b", "d", "g", "ck", "ng", "nd", "st", "ll", "mp", "nt", "rd", "x", "sh", "ch", "pe", "le", "te"]
    en = ["", "", "", "er", "ing", "le", "ow", "et", "on", "in", "us", "y", "ie", "ard", "oon", "ish", "ant", "ot", "el", "ling", "ment"]
    s = "".join(r.choice(on) + r.choice(nu) + r.choice(co) for _ in range(r.choice([1, 2, 2, 3])))
    s += r.choice(en)
    return s if len(s) > 3 else pretend_word(r)


class Subject:
    """What a story is about: phrase as asked for, the short noun used later, its kind and pronoun."""

    def __init__(self, r):
        self.kind = r.choices(["animal", "person", "machine", "thing", "place", "theme", "name", "mine"], [30, 19, 15, 14, 10, 6, 6, 5])[0]
        self.name = self.tail = ""
        if self.kind == "theme":
            self.phrase = self.noun = r.choice(THEMES) if r.random() < 0.8 else pretend_word(r)
            if r.random() < 0.15 and not self.phrase.startswith("the "):
                self.phrase += " and " + r.choice([t for t in THEMES if not t.startswith("the ")])
            return
        if self.kind == "name":
            self.gender = r.choice("fm")
            self.noun = self.phrase = r.choice(GIRLS if self.gender == "f" else BOYS) if r.random() < 0.8 else cap(pretend_word(r))
            return
        if self.kind == "mine":
            self.noun, self.gender = r.choice(OWN) if r.random() < 0.4 else (r.choice(KINDS[r.choice(["animal", "machine"])]), "n")
            if r.random() < 0.3:
                self.noun = r.choice(ADJ) + " " + self.noun
            self.phrase = "your " + self.noun
            return
        noun = r.choice(KINDS[self.kind])
        x = r.random()
        if x < 0.22:
            noun = pretend_word(r) if r.random() < 0.4 else r.choice([CONSONANT, CONSONANT, VOWEL])
        elif x < 0.3:
            noun = r.choice(KINDS[r.choice(list(KINDS))]) + " " + noun
        self.noun = noun.split()[-1] if 0.22 <= x < 0.3 else noun
        adj = r.choices([0, 1, 2], [55, 38, 7])[0]
        words = r.sample(ADJ, adj)
        if adj and r.random() < 0.35:
            words[-1] = pretend_word(r) + r.choice(["", "", "y", "ing", "ed", "ous", "ful", "less", "ant", "ic"])
            if r.random() < 0.7:
                words[-1] = r.choice([w for w in (CONSONANT, VOWEL) if w != noun])
        self.phrase = ", ".join(words) + " " * bool(words) + noun
        self.gender = r.choice("fm") if self.kind == "person" else "n"
        if re.search(r"girl|queen|princess|witch|mother|sister|mermaid|nun|waitress", self.noun):
            self.gender = "f"
        if re.search(r"boy|king$|prince$|wizard|father|brother|monk|fisherman|postman|gingerbread man|snowman", self.noun):
            self.gender = "m"
        x = r.random()
        if x < 0.07 and self.kind in ("animal", "person", "machine"):
            self.tail = r.choice(["who", "who", "that"]) + " " + r.choice(TAILS)(r)
        elif x < 0.12:
            self.tail = r.choice(["in the " + r.choice(KINDS["place"]), "on the moon", "from the " + r.choice(KINDS["place"]),
                                  "in space", "under the sea", "with " + a(r.choice(ADJ) + " " + r.choice(KINDS["thing"])),
                                  "and " + a(r.choice(KINDS["animal"]))])
            if self.tail.startswith("and"):  # two heroes: the story follows the first
                self.tail = "and " + a(r.choice(KINDS["animal"] + KINDS["thing"]))
        elif x < 0.17 and self.kind != "thing":
            self.name = r.choice(GIRLS + BOYS) if r.random() < 0.7 else cap(pretend_word(r))
            if self.gender == "n":
                self.gender = "f" if self.name in GIRLS else "m"
            self.tail = r.choice(["named ", "called "]) + self.name

    def asked(self):
        """As in the request: "a small fox who could sing"."""
        if self.kind in ("theme", "name"):
            return self.phrase
        if self.kind == "mine":
            return "my " + self.noun
        return (a(self.phrase) + " " + self.tail).strip()


OWN = [("cat", "n"), ("dog", "n"), ("cat", "n"), ("dog", "n"), ("mother", "f"), ("father", "m"), ("sister", "f"), ("brother", "m"), ("grandmother", "f"),
       ("grandfather", "m"), ("daughter", "f"), ("son", "m"), ("house", "n"), ("car", "n"), ("teacher", "f"), ("teacher", "m"), ("best friend", "f"),
       ("friend", "m"), ("aunt", "f"), ("uncle", "m"), ("hamster", "n"), ("computer", "n"), ("wife", "f"), ("husband", "m")]
TAILS = [
    lambda r: "lost " + a(r.choice(KINDS["thing"])),
    lambda r: "found " + a(r.choice(KINDS["thing"])),
    lambda r: "was afraid of " + r.choice(FEARS),
    lambda r: "wanted to " + r.choice(["fly", "sing", "dance", "be brave", "see the sea", "travel", "find a friend", "learn to swim",
                                       "read", "be a " + r.choice(["king", "sailor", "painter", "teacher", "hero"])]),
    lambda r: "could not " + r.choice(["sleep", "sing", "fly", "swim", "see", "stop laughing", "say no", "remember anything"]),
    lambda r: "loved " + r.choice(["the rain", "music", "books", "cake", "the stars", "the sea", "apples", "winter"]),
    lambda r: "lived in " + a(r.choice(KINDS["place"])),
    lambda r: "met " + a(r.choice(KINDS["animal"])),
]

OPEN = ["Once upon a time, there was {A}.", "Once there was {A}.", "There was once {A}.", "Long ago, there was {A}.",
        "Many years ago, there was {A}.", "In a quiet part of the world, there was {A}."]
LIVES = {
    "animal": ["{The} lived near {home}.", "{The} had a small home near {home}.", "Every morning, {the} played near {home}.",
               "{The} slept all day near {home}."],
    "person": ["{The} lived in a little house near {home}.", "{The} worked every day near {home}.",
               "Everyone near {home} knew {the}.", "{The} lived alone near {home}."],
    "machine": ["{The} stood in a little room near {home}.", "Somebody had left {the} near {home}.",
                "{The} lived near {home} and had a kind heart.", "Nobody knew how {the} had come to {home}."],
}
LIVES["name"] = LIVES["person"]

# Arcs for heroes who walk, speak and feel. {X} and {x} are the hero ("The fox", "the fox"), {He} {he} {him} {his}
# the pronouns; {o} something small, {w} and {v} two places with their prepositions, {f} a friend, {q} a feeling.
HERO = [
    [["One day, {x} wanted to find {o}.", "One morning, {x} heard about {o} and wanted to see it.", "More than anything, {x} wished for {o}."],
     ["So {x} walked to {w}.", "{X} packed some {food} and went to {w}.", "Without a word, {x} set out for {w}."],
     ["On the way, {he} met {f}.", "There {he} met {f}, who was very helpful.", "By the road {he} saw {f} and said good morning."],
     ['"You must look {pv}," said {F}.', '"Try looking {pv}," said {F} with a smile.', '{F} pointed and said, "What you want is {pv}."'],
     ["And there it was: {o}!", "{X} looked there and found {o}.", "After a long search, {x} found {o}."],
     ["{X} took it home and was very {q}.", "{He} carried it home and felt {q}.", "{X} thanked {F} and went home {q}."]],
    [["One day, {x} lost {o}.", "One evening, {o} was gone, and {x} did not know why.", "{X} had {o}, but one windy day it was lost."],
     ["{He} looked everywhere, even {pw}.", "First {he} went to {w}, but it was not there.", "{X} searched all morning and then went to {w}."],
     ["Then {f} came by and asked what was wrong.", "There {he} met {f}.", "{He} was about to give up when {f} came along."],
     ['"I will help you," said {F}.', '"Do not worry, two can search better than one," said {F}.', '"I saw something {pv}," said {F}.'],
     ["Together they found it {pv}.", "In the end, they found it {pv}.", "They looked {pv}, and there it was."],
     ["{X} was so {q} that {he} shared some {food} with {F}.", "{X} felt {q}, and the two became friends.", "From then on, {x} and {F} were good friends."]],
    [["{X} was afraid of {fear}.", "There was only one problem: {x} was afraid of {fear}.", "{X} liked everything in the world but {fear}."],
     ["One night, {he} heard a cry from {w}.", "One day, somebody called for help {pw}.", "One evening, a small voice called out {pw}."],
     ["It was {f}.", "It was {f}, who could not get home.", "The voice belonged to {f}, who was lost."],
     ["{X} took a deep breath and went to help.", "{He} was frightened, but {he} went all the same.", "{X} thought for a moment and then ran to help."],
     ['"How brave you are!" said {F}.', '"Thank you," said {F}. "You are very brave."', '"I was afraid too," said {F}, "but now we are two."'],
     ["After that night, {x} was never afraid of {fear} again.", "{X} went home and felt {q}.", "From that day on, {x} was a little braver, and very {q}."]],
    [["{X} was often lonely.", "{X} had everything but a friend.", "Day after day, {x} had nobody to talk to."],
     ["One afternoon, {he} went to {w}.", "One day, {he} walked all the way to {w}.", "So one morning {he} set out for {w}."],
     ["There sat {f}, all alone.", "There {he} saw {f}.", "Somebody was already there: it was {f}."],
     ['"May I sit with you?" asked {x}.', '"Hello," said {x}. "Would you like some {food}?"', '"What a fine day," said {x} shyly.'],
     ["{F} nodded, and they talked until the sun went down.", "{F} laughed, and soon they were telling each other stories.", "They shared some {food} and watched the clouds."],
     ["{X} went home {q} and was not lonely any more.", "The next day they met again, and {x} felt {q}.", "Since then, they have met there every day."]],
    [["One winter, a great storm came.", "One night, the wind blew and the rain fell.", "Then came the biggest storm that anyone could remember."],
     ["{X} ran to {w} to be safe.", "{X} found a dry place {pw}.", "{X} hid {pw}."],
     ["{F0} was there too, cold and wet.", "There {he} found {f}, who was shaking with cold.", "Soon {f} came in from the rain."],
     ["{X} made a fire and shared some {food}.", "{X} told a funny story to pass the time.", "They sat close together and sang until the storm was over."],
     ["In the morning, the sun came out, and they found {o} in the wet grass.", "When the rain stopped, something shone in the mud: {o}.", "The next day, the storm had left {o} on the ground."],
     ['"You keep it," said {F}, and {x} was very {q}.', "{X} kept it to remember that night, and felt {q}.", "They hung it up for all to see, and {x} was {q}."]],
    [["One day, {x} wanted to make something for {f}.", "It was nearly the birthday of {f}, and {x} had no present.", "{X} wished to give a present to {f}."],
     ["{He} went to {w} and gathered all {he} needed.", "{He} thought about it on the way to {w}.", "{X} went to {w}, where {he} could work in peace."],
     ["{He} worked all day and all night.", "It took a long time, and twice it fell apart.", "It was hard work, but {he} did not give up."],
     ["At last it was finished: {o}!", "In the end, it was {o}.", "When the sun came up, {he} had made {o}."],
     ['"This is the best present of all," said {F}.', '"Did you make this yourself?" asked {F}.', '{F} smiled and said, "I will keep it for ever."'],
     ["{X} was tired but very {q}.", "{X} felt {q}, and they had some {food}.", "That evening {x} went to bed {q}."]],
    [["Every year there was a great race to {w}.", "One day, there was to be a race to {w}.", "The whole town was excited about the race to {w}."],
     ["{X} wanted to win the prize, which was {o}.", "The prize was {o}, and {x} wanted it very much.", "{X} had dreamed of the prize for years: {o}."],
     ["Half way there, {he} saw {f} lying by the road.", "On the road {he} passed {f}, who had fallen down.", "Just before the end, {he} heard {f} cry out."],
     ["{X} stopped at once to help.", "{X} turned back and helped {F} up.", '"Lean on me," said {x}.'],
     ["They came in last, but everyone cheered.", "So they came in last, hand in hand.", "They did not win, but nobody forgot what {x} had done."],
     ["{F} gave {him} a big hug, and {x} was {q}.", '"A friend is better than a prize," said {F}, and {x} felt {q}.', "{X} went home {q} and had some {food}."]],
    [["One night, {x} could not sleep.", "One night, {x} looked up at the sky.", "It was a clear night, and {x} was wide awake."],
     ["A star fell and landed {pw}.", "A light was shining {pw}.", "Something bright was moving {pw}."],
     ["{X} went out to look and met {f}.", "When {he} got there, {f} was already looking at it.", "{F0} had seen it too, and they went together."],
     ["It was not a star at all but {o}.", "In the grass lay {o}.", "What was shining so brightly was {o}."],
     ['"Make a wish," said {F}.', '"It is for you," said {F}.', '"Let us keep it a secret," said {F}.'],
     ["{X} wished for good friends and went to bed {q}.", "{X} closed {his} eyes, made a wish and felt {q}.", "Then {x} went home and slept well, {q} at last."]],
]

# Arcs for things that are found, made or lost. {n} is a child with a name; {x} is the thing.
THING = [
    [["One day, {k} named {n} found it {pw}.", "{Kn} found {x} {pw} one rainy day.", "It had been lying {pw} for years when {k} named {n} found it."],
     ["{X} looked old, but it was still beautiful.", "At first, {n} thought that {x} was worth nothing.", "{N} cleaned {x} and took it home."],
     ['"Where does it come from?" asked {n}.', '"Does {x} belong to anyone?" asked {n}.', "{N} wanted to know who had lost it."],
     ["So {n} asked {f}.", "On the way to {w2}, {n} met {f}.", "{F0} looked at {x} for a long time."],
     ['"That was mine when I was young," said {F}.', '"It brings good luck to all who share it," said {F}.', '"Take good care of {x}," said {F}, "for there is only one like it."'],
     ["{N} felt {q} and never forgot {x}.", "{N} gave it back and felt {q}.", "From that day on, {n} and {F} were good friends."]],
    [["It belonged to {k} named {n}.", "{Kn} loved {x} more than anything.", "It was the best thing that {k} named {n} owned."],
     ["One day, {x} was gone.", "One windy morning, {n} could not find {x}.", "Then, on a cold day, {x} was lost."],
     ["{N} looked for {x} {pw}.", "{N} went to {w} to look for it.", "All day long, {n} searched {pw}."],
     ["There {n} met {f}.", "Then {f} came along.", "At last {n} saw {f}."],
     ['"Are you looking for {x}?" asked {F}. "Here it is."', '"I found {x} {pv}," said {F}.', '"I have kept {x} safe for you," said {F}.'],
     ["{N} was very {q} and took {x} home.", "{N} thanked {F} and went home {q}.", "That night {n} slept well, with {x} beside the bed."]],
    [["Nobody knew that {x} was magic.", "{X} had a secret: it could talk.", "{X} was not like any other."],
     ["One night, {k} named {n} heard a small voice {pw}.", "One evening, {kn} was sitting {pw} and heard a voice.", "It told its secret to {k} named {n}."],
     ['"Please take me to {w2}," said {x}.', '"I wish to see {w2}," said {x}.', '"Will you carry me to {w2}?" asked {x}.'],
     ["They set out early, and on the way they met {f}.", "So they went, and {f} came with them.", "On the long road they met {f}, who gave them {food}."],
     ["When they got there, the sun was going down.", "It was even more beautiful than they had hoped.", "There they watched the stars come out."],
     ['"Thank you, {n}," said {x}, and {n} felt {q}.', "{N} was {q}, and so was {x}.", "{N} never told anyone and was {q} all the way home."]],
]

# Arcs for places, where others come and go.
PLACE = [
    [["For many years, nobody had come to {x}.", "{X} had been empty for a long time.", "People said that {x} was no place for children."],
     ["One day, {k} named {n} came by with {o}.", "Then {k} named {n} came to {x} and brought {o}.", "One morning, {kn} stood in front of {x} and held {o}."],
     ['"What a wonderful place!" said {n}.', '"Is anybody here?" asked {n}.', "{N} was not afraid and looked around."],
     ["There {n} met {f}.", "Behind {x} lived {f}.", "Suddenly {f} came round the corner."],
     ['"Nobody has visited {x} for years," said {F}.', '"Welcome to {x}," said {F}.', '"I have waited so long for a friend," said {F}.'],
     ["They cleaned {x} together and had some {food}.", "{N} came back to {x} every day and was {q}.", "Soon {x} was full of life again, and {n} was {q}."]],
    [["{Kn} lived close to {x}.", "Close to {x} lived {k} named {n}.", "Every evening, {k} named {n} looked at {x}."],
     ["One stormy night, {n} saw a light there.", "One night, there was a strange sound.", "One day, {n} saw that something was wrong there."],
     ["{N} ran to {x} as fast as the wind.", "{N} took {o} and went to {x}.", "Quietly, {n} went to look."],
     ["{F0} was there and needed help.", "There stood {f}, who had lost the way.", "It was only {f}."],
     ['"I am so glad that you came," said {F}.', '"Can you show me the way to {w2}?" asked {F}.', '"I saw {x} and thought I would be safe here," said {F}.'],
     ["{N} helped at once and felt {q}.", "They ate some {food} and talked until morning.", "Since that night, {n} has told everyone the story of {x}."]],
]

# Arcs for what takes no article: a child learns about it.
THEME = [
    [["This is a story about {x}.", "Here is a story about {x}.", "There are many stories about {x}, and this is one of them."],
     ["{Kn} wanted to know all about {x}.", "There was once {k} named {n} who often thought about {x}.", "Once {k} named {n} had a question about {x}."],
     ["One day, {n} went to {w} and met {f}.", "On the way to {w}, {n} met {f}.", "{F0} lived near {w2}, and {n} went there to ask."],
     ['"What can you tell me about {x}?" asked {n}.', '"Do you know anything about {x}?" asked {n}.', '"Please tell me about {x}," said {n}.'],
     ['"Sit down and share some {food} with me," said {F}.', '"You will learn about {x} when you help others," said {F}.', '"There is always more to learn," said {F}.'],
     ["They talked for a long time, and {n} felt {q}.", "{N} went home {q} and told everyone about {x}.", "That evening {n} wrote a little song about {x}."]],
]

ASK = ["Tell me a story about {}.", "Tell me a short story about {}.", "Can you tell me a story about {}?", "Please tell me a story about {}.",
       "Write a story about {}.", "Write a short story about {}.", "I would like to hear a story about {}.", "A story about {}, please.",
       "Could you tell me a story about {}?", "Tell me about {} in a story.", "Tell me a tale about {}.", "Make up a story about {}.",
       "Give me a story about {}.", "I want a story about {}.", "Do you know a story about {}?", "Tell a story about {}.",
       "Story about {}", "Tell us a bedtime story about {}.", "Tell me a fairy tale about {}.", "Please write me a little story about {}."]
AGAIN = ["Now tell me a story about {}.", "Tell me another story about {}.", "And now one about {}, please.", "Another one, about {}.",
         "Can you tell one about {}?", "Now one about {}."]


def story(r, s=None):
    """A story about s (or a random subject): its text and a dict of facts for questions."""
    s = s or Subject(r)
    he, him, his = {"f": ("she", "her", "her"), "m": ("he", "him", "his")}.get(getattr(s, "gender", "n"), ("it", "it", "its"))
    girl = r.random() < 0.5
    (w, pw), (v, pv) = r.sample(WHERE, 2)
    friend = r.choice([f for f in FRIENDS if f.split()[-1] != s.noun])
    n = r.choice(GIRLS if girl else BOYS)
    k = r.choice(["a girl", "a young girl", "a little girl"] if girl else ["a boy", "a young boy", "a little boy"])
    short = s.noun if s.kind in ("name", "theme") else s.phrase if s.kind == "mine" else "the " + s.noun
    name = s.name
    hero = s.kind in ("animal", "person", "machine", "name", "mine")
    if name and hero:
        short = name
    f = dict(A=s.asked(), x=short, X=cap(short), The=cap(short), the=short, he=he, He=cap(he), him=him, his=his, n=n, N=n,
             k=k, kn=k + " named " + n, Kn=cap(k) + " named " + n, w=w, w2=v, pw=pw, pv=pv, f=a(friend), F0=cap(a(friend)), F="the " + friend.split()[-1],
             home=r.choice(WHERE)[0], o=a(r.choice(TREASURES)), q=r.choice(FEELINGS), food=r.choice(FOODS), fear=r.choice(FEARS))
    beats = r.choice(HERO if hero else THING if s.kind == "thing" else PLACE if s.kind == "place" else THEME)
    told = [r.choice(b) for b in beats]
    if s.kind == "name":
        told = [r.choice(["Once there was someone called {x}.", "This is the story of {x}.", "Once upon a time, there lived someone called {x}.",
                          "Everyone in town knew {x}."]), *told]
    elif s.kind == "mine":
        told = [r.choice(["This is a story about {x}.", "Here is a story about {x}."]), *told]
    elif s.kind != "theme":
        first = [r.choice(OPEN)]
        if hero and r.random() < 0.6:
            first.append(r.choice(LIVES[s.kind]))
        if hero and not name and "and a" not in s.tail and r.random() < 0.3:
            g = r.choice("fm") if s.kind != "person" else s.gender
            name = r.choice(GIRLS if g == "f" else BOYS)
            first.append(f"{cap(short)} was called {name}." if r.random() < 0.5 else f"{cap(his)} name was {name}.")
        told = first + told
    ps = " ".join(told)
    text = ""
    for beat in told:
        line = beat.format(**f)
        text += (" " if text else "") + cap(line)
    text = re.sub(r'([.!?]) (the|a|an) ', lambda m: m[1] + " " + cap(m[2]) + " ", text)
    facts = dict(about=short if s.kind == "mine" else s.asked(), hero=short if hero or s.kind == "name" else None, name=name or (n if not hero else None))
    used = lambda *slots: any("{" + x + "}" in ps for x in slots)
    if used("f", "F0"):
        facts["friend"] = a(friend)
    if used("o"):
        facts["thing"] = f["o"]
    if used("food"):
        facts["food"] = f["food"]
    if hero and beats is HERO[2]:
        facts["fear"] = f["fear"]
    if used("q"):
        facts["feel"] = f["q"]
    if hero and re.search(r"\{(he|x|X|He)\} [^.]*(went|walked|set out|ran)[^.]* (to|for) \{w\}", ps):
        facts["went"] = w
    if hero and used("pv") and beats in (HERO[0], HERO[1]):
        facts["found"] = pv
    facts["who"] = short if hero else n
    return text, facts, s


def questions(r, t):
    """A question about a story with facts t, and its answer."""
    who = t["who"]
    mine = lambda q: q.replace("your ", "my ")
    out = [(["Who was the story about?", "What was the story about?", "Who is the story about?", "What was that story about?"],
            ["The story was about {about}.", "It was about {about}."])] * 2
    if t["name"] and t["hero"]:
        out.append((["What was the name?", "What was its name?", "What was the hero called?", "What was the name of the hero?"], ["The name was {name}.", "The hero was called {name}."]))
    elif t["name"]:
        out.append((["What was the name of the child?", "What was the child called?", "Who was the child in the story?"], ["The name of the child was {name}.", "The child was called {name}."]))
    else:
        out.append((["What was the name?", "What was its name?", "What was the hero called?", "What was the name of the hero?"], ["The story does not give a name.", "The story does not say."]))
    if "friend" in t:
        out.append((["Who did {who} meet?", "Whom did {who} meet?", "Who else was in the story?", "Who was the friend?"], ["It was {friend}.", "{Who} met {friend}."]))
    if "went" in t:
        out.append((["Where did {who} go?", "Where did {who} go in the story?"], ["{Who} went to {went}."]))
    if "found" in t:
        out.append((["Where was it found?", "Where was it in the end?", "Where was it?"], ["It was {found}."]))
    if "thing" in t:
        out.append((["Which thing was in the story?", "What thing was in the story?", "What was the special thing in the story?"], ["It was {thing}."]))
    if "fear" in t:
        out.append((["What was {who} afraid of?"], ["{Who} was afraid of {fear}."]))
    if "feel" in t:
        out.append((["How did {who} feel?", "How did {who} feel at the end?", "How did {who} feel in the end?"], ["{Who} felt {feel}.", "In the end, {who} felt {feel}."]))
    if "food" in t:
        out.append((["What was there to eat?", "What did they have to eat or drink?"], ["They had some {food}.", "There was some {food}." if t["food"][-1] != "s" else "There were some {food}."]))
    q, ans = r.choice(out)
    f = dict(t, Who=cap(who), who=who)
    return mine(r.choice(q).format(**f)), r.choice(ans).format(**f)
