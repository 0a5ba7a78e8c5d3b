"""The words the generator writes with. Every list was written for this model."""


def W(s):
    """Words separated by spaces; an underscore stands for a space inside one."""
    return [w.replace("_", " ") for w in s.split()]


ANIMALS = W("""
fox cat dog bear rabbit owl mouse hedgehog frog duck goose swan hen rooster sheep lamb goat horse pony donkey cow calf
pig wolf badger otter beaver squirrel mole rat bat deer fawn moose elk bison lion tiger leopard cheetah panther monkey
gorilla elephant giraffe zebra hippo camel llama kangaroo koala panda sloth turtle tortoise lizard snake crocodile
dinosaur dragon unicorn phoenix whale dolphin seal shark octopus squid crab lobster shrimp starfish jellyfish seahorse
salmon trout goldfish eel snail slug worm spider ant bee wasp butterfly moth beetle ladybird grasshopper cricket
dragonfly firefly caterpillar sparrow robin crow raven eagle hawk falcon parrot peacock pigeon dove seagull pelican
flamingo stork heron crane kingfisher woodpecker cuckoo magpie nightingale puffin ostrich turkey puppy kitten
duckling chick piglet foal cub weasel ferret hare hamster chipmunk raccoon skunk armadillo anteater
porcupine lynx jaguar hyena gazelle antelope buffalo ox yak mule toad newt salamander gecko chameleon iguana
alligator walrus penguin reindeer kraken griffin goblin troll yeti mammoth cobra vulture canary finch swallow wren
""")

PEOPLE = W("""
girl boy king queen prince princess knight wizard witch fairy giant dwarf elf pirate sailor captain fisherman farmer
baker cook miller shepherd gardener teacher doctor nurse painter singer dancer drummer piper poet writer
printer tailor weaver potter carpenter blacksmith shoemaker clockmaker watchmaker toymaker candlemaker beekeeper
innkeeper shopkeeper librarian scientist inventor engineer astronaut pilot driver builder plumber firefighter detective
spy thief guard soldier hunter woodcutter explorer traveller merchant messenger postman juggler clown magician
acrobat mermaid ghost grandmother grandfather mother father sister brother twin child baby student dentist judge lawyer
mayor monk nun hermit archer lighthouse_keeper train_driver bus_driver street_sweeper zookeeper goalkeeper swimmer
runner skater cyclist climber diver cowboy ninja viking vampire werewolf mummy scarecrow snowman programmer
musician violinist pianist conductor sculptor barber jeweller locksmith chimney_sweep glassblower
bricklayer roofer surgeon vet chemist astronomer professor butcher grocer waiter florist ferryman gravedigger
photographer reporter tourist neighbour stranger champion hero
""")

# Things that move, think or talk in stories as if they lived.
MACHINES = W("""
robot train tractor ship boat rocket submarine aeroplane helicopter bus lorry van car bicycle scooter motorbike
balloon kite computer toaster kettle lamp clock teapot toy doll puppet teddy_bear tin_soldier snow_globe music_box
typewriter printing_press steam_engine locomotive fire_engine tram tugboat canoe raft sledge spaceship satellite drone
wheelbarrow lawnmower washing_machine vacuum_cleaner sewing_machine coffee_machine camera telephone radio piano violin
broom umbrella candle matchstick pencil paintbrush crayon spoon cup snowflake raindrop pebble cloud star
acorn leaf pumpkin carrot potato onion apple pancake gingerbread_man biscuit windmill
""")

# Things someone finds, makes or keeps.
THINGS = W("""
key lantern book map box chest coin ring necklace crown mirror compass telescope watch bell drum flute trumpet whistle
guitar harp fiddle hat coat scarf glove mitten boot shoe sock ribbon button blanket pillow basket bucket bottle jar
bowl plate pot pan cake pie loaf sandwich cheese egg nut berry pear plum cherry peach lemon orange banana
strawberry mushroom turnip cabbage bean seed flower rose tulip daisy sunflower feather shell stone crystal jewel pearl
ruby emerald diamond anchor rope ladder hammer saw nail wheel cart wagon carriage chair table desk bed door window
curtain carpet painting statue letter stamp envelope parcel postcard diary notebook pen ink_bottle violet
newspaper dictionary puzzle marble ball football kite_string yo-yo spinning_top chessboard card dice mask costume sword
shield helmet arrow bow spear cannon potion wand cauldron magic_carpet crystal_ball hourglass sundial calendar
thermometer microscope magnet battery torch fireplace oven stove fridge suitcase backpack purse wallet
thimble needle thread quilt jumper cardigan apron cap belt bracelet earring brooch comb brush soap sponge towel
bathtub barrel crate sack pocket net fishing_rod oar sail mast rudder flag tent hammock campfire scroll
""")

PLACES = W("""
lighthouse castle palace tower cottage cabin hut barn farm mill bakery library school museum theatre cinema circus
hospital station harbour bridge tunnel well fountain garden orchard forest jungle meadow mountain hill valley
cave desert island beach river lake pond waterfall volcano glacier swamp village town city market shop inn cafe
restaurant kitchen attic cellar treehouse greenhouse zoo aquarium park playground church temple monastery pyramid maze
labyrinth factory workshop office bookshop toyshop post_office airport planet moon comet galaxy oasis lagoon reef canyon
cliff vineyard stable kennel nest beehive anthill haunted_house skyscraper observatory railway staircase
balcony rooftop chimney gate fence wall road path crossroads tree oak willow pine
""")

# Subjects that take no article: "a story about friendship".
THEMES = W("""
friendship kindness courage love hope patience honesty bravery winter summer spring autumn music chocolate snow rain
magic time sleep homework breakfast adventure happiness sadness anger trust sharing teamwork gravity electricity
mathematics silence thunder lightning moonlight sunshine bread honey soup tea football school dreams
rainbows shadows secrets birthdays holidays books stars clouds dragons robots pirates cats dogs horses trains
bees trees flowers computers dinosaurs ghosts wizards foxes bears birds islands castles lighthouses
the_sea the_moon the_sun the_wind the_rain the_stars the_night the_forest the_snow the_mountains the_city
the_future the_past the_desert the_sky the_jungle the_north_wind the_first_day_of_school
""")

ADJECTIVES = W("""
small little tiny big large huge tall short long round thin fat old young new ancient red blue green yellow purple
orange pink black white brown grey golden silver brave shy happy sad lonely tired sleepy hungry thirsty angry grumpy
cheerful kind gentle clever wise foolish silly funny curious careful careless lazy busy quiet loud noisy proud humble
honest greedy generous friendly polite rude stubborn patient strong weak fast slow clumsy lost hidden secret
magic magical enchanted invisible haunted mysterious strange odd ordinary famous forgotten broken rusty dusty muddy
wooden glass paper stone iron copper brass velvet woollen clockwork mechanical electric flying singing dancing talking
sleeping laughing crying wandering floating glowing shining sparkling spotted striped furry fluffy woolly feathered
winged one-eyed three-legged left-handed blind deaf gigantic enormous miniature frozen snowy icy wet dry hot cold warm
cosy dark bright pale colourful beautiful pretty handsome ugly elegant scruffy messy tidy royal noble poor rich lucky
unlucky nervous worried frightened fearless daring gloomy jolly merry dreamy forgetful thoughtful helpful selfish
jealous homesick hopeful musical artistic scientific modern medieval wild tame rare
upside-down talkative sensible playful mischievous naughty
""")

GIRLS = W("""
Mira Anna Lena Nora Ida Ella Clara Rosa Lucy Molly Daisy Ruby Hazel Ivy Freya Greta Hana Iris Jane Kate Lily Maya Nina
Olive Pia Queenie Rita Sara Tess Uma Vera Willa Yara Zoe Alma Bella Cora Dora Emma Fern Gwen Holly Inga June Kira Lotte
Mabel Nell Orla Poppy
""")
BOYS = W("""
Tom Ben Sam Max Leo Finn Otto Hugo Karl Emil Jack Harry Oscar Felix Theo Milo Noah Adam Peter Paul Simon Victor Walter
Arthur Bruno Casper Dan Eddie Frank George Henry Ivan Jonas Kofi Liam Mateo Nils Owen Pip Quentin Rory Stan Toby Umar
Vince Will Xavier Yusuf Zack Albert
""")

# Where a story goes: (with preposition "to", with preposition "in/at/on").
WHERE = [("the " + a, p + " the " + a) for p, a in [x.split(" ", 1) for x in """
by river|by lake|in forest|in dark wood|in old mill|in market|at harbour|on beach|on hill|in meadow|in village|in castle
in garden|in orchard|in library|at station|on bridge|in cave|in valley|by waterfall|in desert|on island|in tower|by well
in barn|in bakery|in city|in mountains|in old house|in workshop|in park|by pond|in school|on cliff|in town square
in museum|in deep jungle|on frozen lake|in empty theatre|at lighthouse""".replace("\n", "|").split("|") if x]]

# Small things a story can turn on, with their adjective.
TREASURES = """golden key|silver bell|blue lantern|red kite|little brass compass|wooden flute|old map|shiny coin|green stone|tiny crown
warm scarf|long letter|glass marble|paper boat|silver whistle|red button|broken watch|striped sock|dusty book
bright feather|round pebble|blue umbrella|tin box|yellow balloon|small mirror|rusty anchor|woollen hat|wooden horse
purple ribbon|white shell|golden apple|copper pot|small drum|silver spoon|velvet bag|black pearl|magic seed
old photograph|music box|painted egg""".replace("\n", "|").split("|")

FRIENDS = """old owl|wise tortoise|friendly mouse|little bird|grumpy badger|kind baker|small boy|small girl|young sailor|old woman
old man|clever crow|shy hedgehog|cheerful duck|lost puppy|tired traveller|gentle bear|quiet fisherman|funny frog
lonely giant|busy ant|white rabbit|grey cat|young shepherd|proud peacock|sleepy snail|brave mouse|green parrot
kind teacher|old gardener|hungry wolf|silver fish|polite robot|curious squirrel""".replace("\n", "|").split("|")

FEARS = W("""the_dark thunder deep_water high_places loud_noises the_wind spiders strangers the_forest storms
crowds the_night shadows mirrors""")

FEELINGS = W("happy proud glad cheerful calm safe grateful thankful brave content joyful")

FOODS = W("""soup bread cake apple_pie warm_milk honey_bread pancakes berries hot_chocolate roasted_nuts cheese tea
biscuits plum_jam""")

OPPOSITES = [p.split("/") for p in W("""
hot/cold big/small tall/short long/short fast/slow old/young new/old happy/sad good/bad day/night up/down left/right
open/closed full/empty light/dark heavy/light hard/soft wet/dry rich/poor strong/weak early/late high/low near/far
first/last clean/dirty loud/quiet thick/thin wide/narrow deep/shallow brave/cowardly easy/difficult true/false
right/wrong yes/no begin/end start/stop come/go give/take buy/sell push/pull win/lose laugh/cry love/hate
remember/forget find/lose arrive/leave inside/outside above/below before/after always/never black/white sweet/sour
rough/smooth safe/dangerous awake/asleep alive/dead kind/cruel polite/rude friend/enemy summer/winter north/south
east/west front/back top/bottom many/few more/less boy/girl king/queen bright/dim sharp/blunt tight/loose
""")]

COLOURS = [p.split("/") for p in W("""
grass/green the_sky/blue snow/white coal/black a_banana/yellow a_lemon/yellow blood/red a_ripe_tomato/red
the_sun/yellow an_orange/orange a_carrot/orange chocolate/brown milk/white a_strawberry/red a_frog/green a_crow/black
an_elephant/grey a_flamingo/pink the_sea/blue a_leaf/green the_night_sky/black salt/white a_pumpkin/orange a_cucumber/green
a_violet/purple a_polar_bear/white a_fire_engine/red a_bear/brown a_cherry/red sand/yellow
""")]

SOUNDS = [p.split("/") for p in W("""
cow/moo cat/meow dog/woof sheep/baa pig/oink duck/quack horse/neigh lion/roar mouse/squeak hen/cluck
rooster/cock-a-doodle-doo bee/buzz snake/hiss owl/hoot frog/croak wolf/howl crow/caw donkey/hee-haw bird/tweet
""")]

CAPITALS = [p.split("/") for p in W("""
France/Paris Germany/Berlin Italy/Rome Spain/Madrid Portugal/Lisbon Austria/Vienna Switzerland/Bern Poland/Warsaw
Sweden/Stockholm Norway/Oslo Denmark/Copenhagen Finland/Helsinki Greece/Athens Ireland/Dublin England/London
Japan/Tokyo China/Beijing India/New_Delhi Russia/Moscow Egypt/Cairo Kenya/Nairobi Canada/Ottawa Mexico/Mexico_City
Brazil/Brasilia Argentina/Buenos_Aires Australia/Canberra Turkey/Ankara Belgium/Brussels Hungary/Budapest
the_United_States/Washington
""")]

DAYS = W("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = W("January February March April May June July August September October November December")
SEASONS = W("spring summer autumn winter")
NUMBERS = W("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""")

DEFINITIONS = dict(l.split(": ") for l in """
lighthouse: a tower with a bright light that guides ships at night
castle: a large old building with thick walls and towers
bridge: something that lets people cross over a river or a road
island: a piece of land with water all around it
mountain: a very high hill
river: a long stream of water that flows to the sea
lake: a large area of water with land all around it
desert: a very dry place with a lot of sand
forest: a large place full of trees
cave: a hole in the side of a hill or under the ground
village: a small group of houses in the country
harbour: a safe place where ships can stay
library: a place where people can read and borrow books
museum: a place where people can look at old or beautiful things
school: a place where children learn
hospital: a place where doctors and nurses help sick people
bakery: a place where bread and cakes are made
volcano: a mountain that can throw out hot rock and ash
planet: a large round body that travels around a star
star: a huge ball of hot gas that shines in the sky
moon: a round body that travels around a planet
comet: a ball of ice and dust that travels around the sun
cloud: a mass of tiny drops of water in the sky
rainbow: a bow of colours in the sky that shows when sun and rain meet
robot: a machine that can do jobs on its own
computer: a machine that works with numbers, words and pictures
clock: a thing that shows the time
compass: a tool that shows which way is north
telescope: a tool that makes far things look near
map: a drawing that shows where places are
key: a small thing that opens a lock
lantern: a lamp that can be carried
kite: a toy that flies in the wind on a string
boat: a small ship
submarine: a ship that can travel under water
rocket: a machine that flies into space
train: a row of carriages that runs on rails
bicycle: a vehicle with two wheels and pedals
umbrella: a thing that keeps off the rain
mirror: a piece of glass in which you can see yourself
candle: a stick of wax that gives light when it burns
book: a set of pages with words to read
letter: a message written on paper
pencil: a thin stick used for writing and drawing
piano: a large musical instrument with black and white keys
drum: a musical instrument that you hit
flute: a musical instrument that you blow
violin: a musical instrument with four strings
dog: an animal that many people keep as a friend
cat: a small animal with soft fur that catches mice
fox: a wild animal with red fur and a thick tail
wolf: a wild animal that looks like a large dog
bear: a large strong animal with thick fur
owl: a bird that hunts at night
whale: the largest animal in the sea
dolphin: a clever animal that lives in the sea
elephant: a very large animal with a long nose
giraffe: a tall animal with a very long neck
lion: a large wild cat
frog: a small green animal that jumps
snail: a small slow animal with a shell on its back
spider: a small animal with eight legs
bee: an insect that makes honey
butterfly: an insect with large colourful wings
horse: a large animal that people can ride
cow: a farm animal that gives milk
sheep: a farm animal that gives wool
hedgehog: a small animal with sharp spines
penguin: a black and white bird that cannot fly but swims well
dragon: an animal in stories that can fly and breathe fire
unicorn: a horse in stories with one horn on its head
wizard: a man in stories who can do magic
king: a man who rules a country
queen: a woman who rules a country, or the wife of a king
pirate: a sailor who robs other ships
sailor: a person who works on a ship
baker: a person who makes bread and cakes
farmer: a person who grows food and keeps animals
doctor: a person who helps sick people
teacher: a person who helps others to learn
painter: a person who makes pictures
gardener: a person who looks after plants
astronaut: a person who travels into space
detective: a person who finds out who did something
shepherd: a person who looks after sheep
tailor: a person who makes clothes
apple: a round fruit that grows on trees
banana: a long yellow fruit
carrot: a long orange vegetable
pumpkin: a large round orange vegetable
flower: the colourful part of a plant
tree: a tall plant with a trunk and branches
seed: a small thing from which a plant grows
garden: a place where plants are grown
egg: a round thing from which a bird comes
bread: a food made from flour and water
honey: a sweet food made by bees
snow: frozen water that falls from the sky in white flakes
ice: water that is frozen and hard
rain: water that falls from the clouds
wind: moving air
thunder: the loud noise that comes after lightning
gold: a yellow metal that is worth a lot of money
friendship: the bond between people who like and help each other
courage: the strength to do something although you are afraid
token: a small piece of text, such as a word or part of a word
actor: a person who plays a part, or a part of a program that gets and sends messages
server: a program that answers requests from other programs
""".strip().split("\n"))

# Held out: in no training text as the subject of a request; only the evaluation asks about them.
EVAL_NOUNS = W("""
walrus pelican badger kangaroo chimpanzee octopus gecko sparrow trumpeter carpenter librarian astronomer juggler beekeeper
plumber locksmith windmill tractor telescope accordion typewriter hourglass backpack lemonade_stand staircase waterfall
greenhouse observatory vineyard canyon snowman goblin mermaid cactus pineapple sandcastle skateboard porcupine
hummingbird meerkat
""")
EVAL_ADJECTIVES = W("""grumpy clockwork turquoise homesick gigantic velvet mischievous absent-minded elderly
crooked fearless wandering freckled nearsighted elegant""")
