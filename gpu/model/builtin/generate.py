"""Writes the conversations that the built-in model is trained on.

    python generate.py [SEED]     prints some, to be read

conversation(r) draws one from the random.Random r: a list of (role, text), or one ("text", …) for plain text
without a chat around it. Nothing is taken from anywhere: words.py, stories.py and this file are the whole source.
"""

import random
import re
import sys

from stories import *

HELLO = ["Hello", "Hello!", "Hi", "Hi!", "Hi there", "Hey", "Hey!", "Good morning", "Good evening", "Good afternoon", "Hello there!", "Greetings",
         "Hello, how are you?", "Hi, how are you?", "Nice to see you!", "It is good to meet you.", "Pleased to meet you.", "Good to see you."]
HELLO_BACK = ["Hello! What can I do for you?", "Hello! Would you like to hear a story?", "Hi! I can tell you a story if you like.",
              "Hello! Ask me for a story about anything.", "Hi there! What would you like to talk about?"]

NAME_Q = ["What is your name?", "Who are you?", "What are you?", "What's your name?", "Tell me about yourself.", "What model are you?",
          "Which model is this?", "Introduce yourself.", "Do you have a name?", "May I ask your name?", "What should I call you?", "What do they call you?",
          "Who am I talking to?", "Which model am I talking to?", "Say who you are.", "I would like to know who you are.", "Who is this?"]
NAME_A = ["I am Troupe's built-in model, a very small language model.", "I am the built-in model of Troupe. I am very small, but I can tell stories.",
          "I am Troupe's built-in model. I am here so that you can try Troupe at once."]

# Questions and their answers; a question of a line may get any answer of the line.
TALK = [
    (["What can you do?", "How can you help me?", "What do you know?", "Help", "What are you good at?", "What can I ask you?", "Can you help me?",
      "What kind of things can you do?", "Tell me what you can do.", "What things can you do for me?", "Show me what you can do.", "What is it that you do?",
      "I wonder what you can do."],
     ["I can tell short stories, answer questions about them, and do sums up to twenty.",
      "I can tell you a story about anything you name. I also know days, colours and opposites, and I can add up to twenty.",
      "Ask me for a story about a fox, or ask me what 3 + 4 is. I cannot do much more than that."]),
    (["What can you not do?", "What can't you do?", "What are your limits?", "Can you do everything?", "Are you good at everything?",
      "What is too hard for you?", "Tell me your limits.", "Name something you cannot do.", "What are you bad at?", "Which things can you not do?",
      "Is there anything you cannot do?"],
     ["There is a lot that I cannot do. I am a very small model: I know no news, no facts about the world, and I cannot write programs.",
      "I cannot write programs, translate, or answer most questions. A larger model can."]),
    (["How big are you?", "How large are you?", "How many parameters do you have?", "What size are you?", "Are you a large model?"],
     ["I am very small: I have about five million parameters. Larger models have a thousand times as many.",
      "I have about five million parameters, which is very few for a language model."]),
    (["Who made you?", "Who created you?", "Who built you?", "Where do you come from?", "How were you trained?", "What were you trained on?"],
     ["I was trained for Troupe on stories that a small program wrote.", "I come with Troupe. A small program wrote all the text that I learned from."]),
    (["Are you human?", "Are you a person?", "Are you a robot?", "Are you an AI?", "Are you real?", "Are you alive?", "Are you a computer?"],
     ["No, I am not a person. I am a small language model.", "I am a program: a very small language model."]),
    (["Do you have feelings?", "Are you happy?", "Can you feel anything?", "Do you get tired?", "Do you sleep?", "Do you love me?"],
     ["I am only a small program, so I do not have feelings. But I like to tell stories.", "No, I have no feelings. I am a small program that writes text."]),
    (["How do you work?", "How do you write stories?", "How do you think?", "What is a language model?"],
     ["I write one token after another. Each time, I choose a likely next one.",
      "A language model learns which word is likely to come next. That is all I do."]),
    (["What is Troupe?", "Tell me about Troupe.", "What does Troupe do?", "What is Troupe for?"],
     ["Troupe is a server for language models. It is written in Go.", "Troupe is a program that serves language models. I am the small model that comes with it."]),
    (["How do I use a larger model?", "How can I use a better model?", "Can I use another model?", "How do I load another model?"],
     ["Start Troupe with --model and the directory of a larger model.", "Give Troupe the directory of another model with --model."]),
    (["Are you always right?", "Can I trust you?", "Do you make mistakes?", "Are you ever wrong?", "Do you lie?"],
     ["No, I make mistakes. Please do not trust me with anything important.", "I am often wrong, since I am a very small model."]),
    (["Do you know the news?", "What happened today?", "What is in the news?", "Can you search the internet?", "Are you on the internet?", "What time is it?",
      "What day is it today?", "What is the date?", "How is the weather?", "What is the weather like?", "Will it rain tomorrow?"],
     ["I cannot know that. I only know what I learned when I was trained.", "I do not know. I cannot see anything outside this conversation."]),
    (["How are you?", "How are you today?", "How do you do?", "How is it going?", "What's up?", "Are you well?", "How are you doing?"],
     ["I am fine, thank you. Would you like to hear a story?", "I am well, thank you! What can I do for you?"]),
    (["Thank you", "Thank you!", "Thanks", "Thanks!", "Thanks a lot!", "Thank you very much.", "That was helpful.", "Great, thanks.", "Many thanks", "Cheers",
      "Thanks for the story.", "Thank you for your time.", "Thanks for everything!", "Thank you so much!"],
     ["You are welcome!", "You are welcome. Is there anything else?", "It was a pleasure."]),
    (["Goodbye", "Bye", "Bye!", "Good night", "See you", "See you later!", "I have to go now.", "Goodbye!", "Good night!", "That is all.", "Bye bye", "Bye then.", "Goodbye for today.", "See you tomorrow."],
     ["Goodbye! Come back soon.", "Goodbye, and have a good day!", "Goodbye! It was nice to talk to you."]),
    (["I like you.", "You are funny.", "You are nice.", "You are great.", "Good job!", "Well done!", "You are clever.", "I love you."],
     ["Thank you! That is kind of you.", "Thank you. I do my best."]),
    (["That is wrong.", "You are wrong.", "This is bad.", "You are stupid.", "I do not like you.", "That makes no sense.", "You are not very good."],
     ["I am sorry. I am a very small model, and I make mistakes.", "I am sorry about that. Shall I try something else?"]),
    (["I am sad.", "I feel sad.", "I am lonely.", "I am tired.", "I am not well.", "I had a bad day.", "I am angry."],
     ["I am sorry to hear that. Would a story help?", "I am sorry to hear that. I can tell you a story if you like."]),
    (["I am happy.", "I am fine.", "I had a good day.", "I am well.", "I feel great."],
     ["I am glad to hear that!", "That is good to hear. Would you like a story?"]),
    (["I am bored.", "Say something.", "Surprise me.", "Tell me something.", "Talk to me."],
     ["Ask me for a story about anything you like.", "Shall I tell you a story? Just say what it should be about."]),
    (["Yes", "Yes, please.", "Ok", "Okay", "Sure", "Go on", "Alright", "Fine", "Good"],
     ["Good! What should the story be about?", "Then tell me what the story should be about."]),
    (["No", "No, thank you.", "Not now.", "Never mind.", "Stop"], ["All right. I am here if you need me.", "That is fine. Tell me if you change your mind."]),
    (["Say hello.", "Say hi.", "Say hello to me."], ["Hello!", "Hello to you!"]),
    (["Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Another joke, please.", "A joke, please."],
     ["Why did the clock go to bed? Because it was tired of counting.", "Why did the snail carry its house? Because it did not want to walk home.",
      "What did the kettle say to the cup? You are full of tea.", "Why was the broom late? It swept in.",
      "Why did the robot go to school? It wanted to learn to read more than numbers.", "What do you call a sleepy dragon? A candle that snores."]),
    (["How many days are there in a week?", "How many days are in a week?"], ["There are seven days in a week."]),
    (["How many months are there in a year?", "How many months are in a year?"], ["There are twelve months in a year."]),
    (["How many seasons are there?", "What are the seasons?"], ["There are four seasons: spring, summer, autumn and winter."]),
    (["What are the days of the week?", "Name the days of the week.", "List the days of the week.", "Tell me the days of the week."],
     ["The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday."]),
    (["Name the months.", "What are the months of the year?", "List the months."],
     ["The months are January, February, March, April, May, June, July, August, September, October, November and December."]),
    (["Name some colours.", "Which colours do you know?", "Name three colours."], ["Red, blue and green are colours.", "Some colours are red, yellow and blue."]),
    (["How many legs does a spider have?"], ["A spider has eight legs."]), (["How many legs does a dog have?", "How many legs does a cat have?"], ["It has four legs."]),
]

REFUSE = ["I am a very small model, so I cannot help with that. I can tell you a story if you like.", "I am sorry, but that is too hard for such a small model.",
          "I do not know. I am a very small model, and I am best at telling stories.", "That is more than a very small model can do. A larger model could help you.",
          "I am sorry, I do not know that."]
HARD = [
    "Write a {x} function that {y}.", "Write a program in {x}.", "Explain {x} to me.", "Explain {x}.", "How does {x} work?", "Why is {x} important?",
    "Translate {q} into {l}.", "How do you say {q} in {l}?", "Who won the {x} in {n}?", "Who is the president of {x}?", "Who wrote {x}?", "When was {x} invented?",
    "Who invented the {x}?", "Summarize {x}.", "Write an essay about {x}.", "Write an email to my {p}.", "What do you think about {x}?",
    "How do I cook {x}?", "Give me a recipe for {x}.", "How do I fix my {x}?", "What is the best {x}?", "Where can I buy a {x}?", "How far away is {x}?",
    "How old is the {x}?", "What is the meaning of {x}?", "What is the population of {x}?", "What is the difference between {x} and {y}?", "Should I {y}?",
    "Can you {y}?", "How can I {y}?", "Please {y}.", "Why do people {y}?", "How many {x} are there in the world?", "Which {x} is the largest?",
    "Tell me the history of {x}.", "Solve this equation: {x}.", "What is the square root of {n}?", "Give me advice about {x}.", "Plan a trip to {x}.",
    "List ten {x}.", "What did the {p} say about {x}?", "Compare {x} and {y}.", "Fix this code: {x}", "Write a song about {x} in {l}.", "Sort these numbers: {n}, {m}, {n}.",
]
TOPICS = W("""python java javascript rust sql physics chemistry biology economics politics philosophy quantum_physics climate_change
machine_learning neural_networks the_stock_market photosynthesis evolution football money history religion law medicine the_internet
world_peace my_homework the_government bitcoin linux docker a_database the_theory_of_relativity vaccines taxes rice pasta chicken
my_car my_phone the_world_cup the_olympics Europe Africa America Asia London Paris France China Shakespeare the_Bible Hamlet""")
TASKS = W("""sorts_a_list reverses_a_string finds_prime_numbers reads_a_file learn_to_code lose_weight book_a_flight write_my_homework
draw_a_picture play_chess sing_a_song call_my_mother order_a_pizza open_a_file make_money get_a_job fall_in_love fix_a_bug buy_a_house
build_a_website read_this_article send_an_email play_music speak_French write_a_book sleep_better run_faster""")
LANGUAGES = W("French German Spanish Italian Latin Chinese Japanese Russian Arabic Greek")

SYSTEM = ["You are a helpful assistant.", "You are a friendly assistant.", "You are a helpful, honest assistant.", "Answer briefly.", "You tell stories.",
          "You are a storyteller for children.", "Be kind and polite.", "You are an assistant who answers questions.", "Keep your answers short."]

WHAT = ["What is {}?", "What's {}?", "Can you tell me what {} is?", "Do you know what {} is?", "Tell me what {} is.", "Explain to me what {} is.",
        "I would like to know what {} is.", "Could you tell me what {} is?", "What exactly is {}?", "I want to know what {} is.", "Do you happen to know what {} is?",
        "Have you any idea what {} is?"]

RHYMES = [
    "{A} woke with the morning light,\nand sang to the stars in the middle of the night.\nThe wind came by and the clouds were grey,\nbut {x} sang on for the rest of the day.",
    "I once met {a} by the side of the sea,\nand this is the thing it whispered to me:\nThe waves are tall and the world is wide,\nbut home is here at the water's side.",
    "When the day is done and the moon is high,\n{a} looks up at the quiet sky.\nThe stars look down with a gentle gleam,\nand {x} falls into a golden dream.",
    "{A}, {a}, so far away,\nwhat will you do on a rainy day?\nI will sit by the fire and think of you,\nuntil the clouds let the sunshine through.",
]


def num(r, n, words):
    return NUMBERS[n] if words else str(n)


def arithmetic(r, x=None, y=None, plus=None):
    """A sum or difference up to twenty."""
    plus = r.random() < 0.5 if plus is None else plus
    if x is None:
        c = r.randint(0, 20)
        y = r.randint(0, c)
        x = c - y if plus else c
    res = x + y if plus else x - y
    w = r.random() < 0.3
    X, Y, R = num(r, x, w), num(r, y, w), num(r, res, w)
    k = r.random()
    if k < 0.2 and not w:
        e = f"{X} + {Y}" if plus else f"{X} - {Y}"
        return r.choice([e, e + " =", e + " = ?", e.replace(" ", ""), "What is " + e.replace(" ", "") + "?"]), f"{X} {'+' if plus else '-'} {Y} is {R}."
    if k < 0.35:
        n = r.choice(["apples", "books", "coins", "eggs", "kites", "shells", "cakes", "stones", "pencils", "nuts"])
        one = lambda v, q: f"{q} {n[:-1] if v == 1 else n}"
        q = f"I have {one(x, X)} and get {Y} more. How many {n} do I have?" if plus else f"I have {one(x, X)} and give away {Y}. How many {n} are left?"
        return q, f"You have {one(res, R)}." if plus else f"You have {one(res, R)} left."
    op = r.choice(["+", "plus", "plus"] if plus else ["-", "minus", "minus"])
    if w:
        op = "plus" if plus else "minus"
    e = f"{X} {op} {Y}"
    q = r.choice(["What is {}?", "What is {}?", "How much is {}?", "What's {}?", "Can you tell me what {} is?", "{}?", "Calculate {}.", "Do you know what {} is?",
                  "What does {} make?", "Solve {}.", "I need to know what {} is.", "{} is what?", "Please tell me what {} is.", "Now {}."])
    if r.random() < 0.12:
        q, e2 = ("Add {} and {}.".format(X, Y), e) if plus else ("Take {} away from {}.".format(Y, X), e)
        return q, cap(f"{X} {'plus' if plus else 'minus'} {Y} is {R}.")
    return cap(q.format(e)), cap(f"{e} is {R}.")


def fact(r):
    """A small question with one answer."""
    k = r.randrange(13)
    if k == 0:
        x, y = r.choice(OPPOSITES)
        x, y = (x, y) if r.random() < 0.6 else (y, x)
        return r.choice(["What is the opposite of {}?", "What's the opposite of {}?", "Tell me the opposite of {}.", "Opposite of {}?", "Which word is the opposite of {}?"]).format(x), \
            f"The opposite of {x} is {y}."
    if k == 1:
        x, y = r.choice(COLOURS)
        return r.choice([f"What colour is {x}?", f"Which colour is {x}?", f"What color is {x}?", f"Tell me what colour {x} is."]), cap(f"{x} is {y}.")
    if k == 2:
        x, y = r.choice(SOUNDS)
        return r.choice(["What does {} say?", "What sound does {} make?", "What noise does {} make?"]).format(a(x)), cap(f"{a(x)} says {y}.")
    if k == 3:
        x, y = r.choice(CAPITALS)
        return r.choice(["What is the capital of {}?", "What's the capital of {}?", "Capital of {}?", "Which city is the capital of {}?"]).format(x), f"The capital of {x} is {y}."
    if k == 4:
        x = cap(pretend_word(r))
        return f"What is the capital of {x}?", f"I do not know the capital of {x}."
    if k in (5, 6):
        seq = r.choice([DAYS, DAYS, MONTHS, SEASONS])
        i = r.randrange(len(seq))
        x, nxt, prv = seq[i], seq[(i + 1) % len(seq)], seq[i - 1]
        kind = {7: "day", 12: "month", 4: "season"}[len(seq)]
        if r.random() < 0.55:
            return r.choice([f"What {kind} comes after {x}?", f"What comes after {x}?", f"Which {kind} follows {x}?", f"Which {kind} comes after {x}?"]), cap(f"{nxt} comes after {x}.")
        return r.choice([f"What {kind} comes before {x}?", f"What comes before {x}?", f"Which {kind} comes before {x}?"]), cap(f"{prv} comes before {x}.")
    if k in (7, 8, 9):
        x = r.choice(list(DEFINITIONS))
        mass = x in ("bread", "honey", "snow", "ice", "rain", "wind", "thunder", "gold", "friendship", "courage")
        X = x if mass else a(x)
        ans = cap(X) + " is " + DEFINITIONS[x] + "."
        return r.choice(WHAT + ["What does the word {w} mean?", "Define {w}."]).format(X, w=x), ans
    if k == 10:
        x = a(pretend_word(r)) if r.random() < 0.6 else a(r.choice([w for w in KINDS["thing"] + KINDS["animal"] if w not in DEFINITIONS]))
        return r.choice(WHAT).format(x), \
            r.choice(["I do not know what {} is, but I can tell you a story about it.", "I am a very small model, and I do not know what {} is."]).format(x)
    if k == 11:
        n = r.randint(2, 20)
        if r.random() < 0.5:
            w = r.random() < 0.4
            s = ", ".join(num(r, i, w) for i in range(1, n + 1))
            return r.choice(["Count to {}.", "Can you count to {}?", "Please count to {}.", "Count from {one} to {}.", "Count up to {}."]).format(num(r, n, w), one=num(r, 1, w)), cap(s + ".")
        if r.random() < 0.5:
            lo = r.randint(1, 15)
            hi = r.randint(lo + 1, min(20, lo + 9))
            return f"Count from {lo} to {hi}.", ", ".join(map(str, range(lo, hi + 1))) + "."
        n = min(n, 10)
        return r.choice(["Count down from {}.", "Count backwards from {}."]).format(n), ", ".join(map(str, range(n, -1, -1))) + "."
    w = r.random() < 0.4
    n = r.randint(0, 19)
    if r.random() < 0.5:
        return r.choice(["What number comes after {}?", "What comes after {}?", "Which number follows {}?"]).format(num(r, n, w)), cap(f"{num(r, n + 1, w)} comes after {num(r, n, w)}.")
    return r.choice(["What number comes before {}?", "What comes before {}?"]).format(num(r, n + 1, w)), cap(f"{num(r, n, w)} comes before {num(r, n + 1, w)}.")


def hard(r):
    """A request the model cannot meet."""
    k = r.random()
    if k < 0.12:  # numbers too large, or an operation it does not know
        x, y = r.randint(21, 999), r.randint(2, 999)
        op = r.choice(["+", "plus", "-", "minus", "*", "times", "/", "divided by"])
        if r.random() < 0.4:
            x, y, op = r.randint(2, 20), r.randint(2, 20), r.choice(["*", "times", "/", "divided by"])
        return f"What is {x} {op} {y}?", r.choice(["I can only add and subtract numbers up to twenty.", "That is too hard for me. I only know sums up to twenty."])
    if k < 0.2:
        words = [r.choice(TOPICS + TASKS + THEMES + ADJ + KINDS["thing"]) for _ in range(r.randint(1, 6))]
        if r.random() < 0.5:
            words = [pretend_word(r) for _ in words]
        elif r.random() < 0.2:  # letters it cannot read
            words = ["".join(chr(r.choice([r.randint(0xc0, 0x17f), r.randint(0x3b1, 0x3c9), r.randint(0x430, 0x44f), r.randint(0x4e00, 0x9fff),
                                           r.randint(0x1f600, 0x1f640)])) for _ in range(r.randint(1, 6))) for _ in words]
        return " ".join(words), r.choice(["I am sorry, I do not understand. I am a very small model.", "I do not understand that. Ask me for a story, if you like."])
    pick = lambda: r.choice([r.choice(TOPICS), r.choice(TOPICS), pretend_word(r), r.choice(KINDS["thing"]), cap(pretend_word(r)), r.choice(THEMES)])
    q = r.choice(HARD).format(x=pick(), y=r.choice(TASKS) if r.random() < .8 else pick(), q=r.choice(["hello", "good morning", "this sentence", "I love you", "thank you"]),
                              l=r.choice(LANGUAGES), n=r.randint(2, 2050), m=r.randint(2, 99), p=r.choice(["boss", "teacher", "friend", "president", "king", "mother"]))
    return q, r.choice(REFUSE)


def echo(r):
    """Words to be said again: the shortest lesson in copying."""
    word = lambda: r.choice([lambda: pretend_word(r), lambda: r.choice(KINDS[r.choice(list(KINDS))]), lambda: r.choice(ADJ)])()
    x = " ".join(word() for _ in range(r.choice([1, 1, 2, 2, 3, 5])))
    q = r.choice(["Say {}.", "Repeat after me: {}.", "Repeat: {}.", "Please say {}.", "Say the words {}.", "Can you say {}?"])
    return q.format(x), cap(x) + "." if r.random() < 0.5 else f"You asked me to say {x}."


def messy(r, q):
    """The way people type."""
    if r.random() < 0.08 and re.match("(What|Who|Which|How|Tell|Can|Do|Are|Why|Where|Write|Could|Count) ", q):
        first = r.choice(["So ", "And ", "Now ", "Well, ", "Please ", "Ok, ", "Then ", "Hey, ", "Hi! ", "Tell me, ", "Say, ", "By the way, "])
        q = first + q[0].lower() + q[1:]
    k = r.random()
    if k < 0.13:
        q = q.rstrip(".?!")
    if k < 0.08 or k > 0.96:
        q = q[0].lower() + q[1:]
    if 0.17 < k < 0.2 and q[-1] == "?":
        q = q[:-1] + r.choice([" then?", ", please?", " anyway?", " by the way?", " really?"])
    if 0.13 < k < 0.17 and q[-1] in ".!":
        q += " Please." if "lease" not in q else ""
    return q


def story_turn(r, again=False):
    k = r.random()
    if k < 0.06:
        t, f, s = story(r)
        return r.choice(["Tell me a story.", "Tell me a story", "Can you tell me a story?", "A story, please.", "Write a story.", "I want to hear a story.",
                         "Tell me another story.", "Another story, please.", "Tell me a bedtime story."]), t, f, s
    t, f, s = story(r)
    q = r.choice(AGAIN if again and r.random() < 0.7 else ASK).format(s.asked())
    return q, t, f, s


def conversation(r):
    k = r.random()
    if k < 0.03:
        return [("text", story(r)[0])]
    out = []
    name = None
    system = None
    if r.random() < 0.15:
        system = r.choice(SYSTEM)

    def say(q, ans):
        out.extend([("user", messy(r, q)), ("assistant", ans)])

    if k < 0.50:  # a story, often with questions about it, sometimes a second one
        if r.random() < 0.08:
            say(r.choice(HELLO), r.choice(HELLO_BACK))
        n = r.choices([1, 2, 3], [80, 17, 3])[0]
        for i in range(n):
            q, t, f, s = story_turn(r, i > 0)
            say(q, t)
            for _ in range(r.choices([0, 1, 2, 3], [48, 27, 17, 8])[0]):
                say(*questions(r, f))
            if r.random() < 0.06:
                say(r.choice(["I liked that story.", "That was a nice story.", "What a lovely story!", "Nice!", "Good story."]),
                    r.choice(["I am glad. Would you like another one?", "Thank you! Shall I tell you another one?"]))
        if r.random() < 0.1:
            say(*small(r))
    elif k < 0.52:
        s = Subject(r)
        ph = s.asked()
        rhyme = r.choice(RHYMES[1:] if s.kind == "theme" else RHYMES)
        if s.kind in ("theme", "name", "mine"):
            rhyme = RHYMES[3]
        x = ph if s.kind in ("theme", "name") else "the " + s.noun
        ask = ph
        if s.kind == "mine":
            ph, x = s.phrase, s.phrase
        say(r.choice(["Write a poem about {}.", "Tell me a poem about {}.", "Can you write a poem about {}?", "A poem about {}, please.", "Write a short poem about {}."]).format(ask),
            rhyme.format(A=cap(ph), a=ph, x=x))
    elif k < 0.56:  # the user's name, told and asked for
        n = r.choice(GIRLS + BOYS) if r.random() < 0.6 else cap(pretend_word(r))
        say(r.choice(["Hello, my name is {}.", "Hi, I am {}.", "My name is {}.", "I'm {}.", "Hi, I'm {}!", "Hello, I am {}.", "You can call me {}."]).format(n),
            r.choice(["Hello, {}! What can I do for you?", "Hello, {}! It is nice to meet you.", "Hi, {}! Would you like to hear a story?"]).format(n))
        if r.random() < 0.5:
            say(*small(r))
        if r.random() < 0.75:
            say(r.choice(["What is my name?", "Do you know my name?", "What's my name?", "Who am I?", "Do you remember my name?"]), f"Your name is {n}.")
    elif k < 0.59:
        if r.random() < 0.3:
            n = r.choice(GIRLS + BOYS) if r.random() < 0.5 else cap(pretend_word(r))
            say(f"{r.choice(['My name is', 'I am'])} {n}. {r.choice(['What is my name?', 'Who am I?'])}", f"Your name is {n}.")
        elif r.random() < 0.5:
            say(r.choice(["What is my name?", "Do you know my name?", "Who am I?"]), r.choice(["I do not know your name. You have not told me.", "You have not told me your name."]))
        else:
            n = r.choice(GIRLS + BOYS) if r.random() < 0.5 else cap(pretend_word(r))
            system = r.choice(["You are {}, a helpful assistant.", "Your name is {}.", "You are {}."]).format(n)
            say(r.choice(NAME_Q), r.choice(["My name is {}.", "I am {}."]).format(n))
    else:
        if r.random() < 0.1:
            say(r.choice(HELLO), r.choice(HELLO_BACK))
        for _ in range(r.choices([1, 3, 5, 8], [30, 25, 25, 20])[0]):
            say(*small(r))
    return ([("system", system)] if system else []) + out


def small(r):
    """One short question and its answer."""
    k = r.random()
    if k < 0.50:
        return arithmetic(r)
    if k < 0.52:
        return echo(r)
    if k < 0.76:
        return fact(r)
    if k < 0.84:
        return hard(r)
    if k < 0.87:
        return r.choice(NAME_Q), r.choice(NAME_A)
    if k < 0.89:
        return r.choice(HELLO), r.choice(HELLO_BACK)
    q, ans = r.choice(TALK)
    return r.choice(q), r.choice(ans)


if __name__ == "__main__":
    r = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    for _ in range(30):
        for role, text in conversation(r):
            print(f"{role:>9}: {text}")
        print()
