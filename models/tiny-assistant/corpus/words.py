"""Word, name and thing lists. words.txt is drawn from SCOWL (size 35): see the card."""

from pathlib import Path

WORDS = (Path(__file__).parent / "words.txt").read_text().split()

NAMES = """Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Maria Noah Olga Paul Rosa
Sam Tina Victor
Wendy Adam Bella Carl Diana Eric Fiona George Hannah Ivan Julia Kevin Laura Mark Nina Oscar Petra
Quinn Robert Sara
Tom Ursula Vera Walter Yusuf Zoe Alice Bob Carol Dan Eva Frank Gina Hugo Irene James Karen Lucas
Mona Nathan Olivia
Peter Rita Simon Teresa Uma Vincent William Xenia Yara Zack Amir Bianca Chen Dora Elias Fatima
Gustav Hiro Ines Jonas
Kim Lina Marco Nadia Omar Priya Ravi Sofia Tariq Mila Ali Aisha Bruno Celine Diego Elena Finn
Greta Hassan Isabel
Jana Khalid Liam Maya Nico Otto Pia Rahul Stella Theo Viktor Wanda Yuki Zara Alan Betty Chris
Dennis Ellen Fred Gwen
Harry Iris Joel Kyle Lisa Mike Nora Owen Pam Ron Sue Tim Val Will Amy Brian Cora Dean Edith Floyd
Gail Howard Jane
Keith Lily Max Nick Opal Phil Ruth Scott Tara Vince Lucy Daniel Sophia Martin Helen Anton Bruce
Carla""".split()

CITIES = (
    """Paris London Berlin Madrid Rome Vienna Prague Oslo Lisbon Dublin Athens Warsaw Budapest
Helsinki Stockholm
Copenhagen Brussels Amsterdam Zurich Geneva Munich Hamburg Milan Venice Naples Barcelona Seville
Porto Lyon Nice
Boston Chicago Denver Seattle Houston Dallas Miami Atlanta Toronto Montreal Vancouver Tokyo Osaka
Kyoto Seoul Beijing
Shanghai Delhi Mumbai Bangkok Hanoi Jakarta Manila Sydney Melbourne Perth Auckland Cairo Nairobi
Lagos Accra Tunis
Lima Bogota Quito Santiago Havana Caracas Istanbul Ankara Dubai Doha Riyadh Tehran Moscow Kiev
Riga Tallinn Vilnius
Sofia Belgrade Zagreb Glasgow Leeds Bristol Oxford York Bath Austin Phoenix Portland Dresden
Cologne Turin""".split()
    + [
        "New York",
        "Los Angeles",
        "San Francisco",
        "Hong Kong",
        "Rio de Janeiro",
        "Cape Town",
        "Mexico City",
        "Buenos Aires",
        "New Delhi",
        "Tel Aviv",
        "Las Vegas",
        "San Diego",
        "New Orleans",
        "Sao Paulo",
        "Kuala Lumpur",
        "Saint Petersburg",
        "The Hague",
        "Abu Dhabi",
    ]
)

ITEMS = """apples pears books pens eggs lamps chairs tables cups plates bottles bags boxes stamps
coins tickets shirts
shoes hats socks gloves keys clocks candles flowers roses melons lemons oranges bananas cakes
cookies spoons forks
knives pots pans bowls rugs towels pillows blankets mirrors phones cables batteries bulbs nails
screws hammers brushes
bricks tiles doors windows wheels tires bikes toys dolls kites balls cards posters notebooks
pencils rulers""".split()

COLORS = """red blue green yellow orange purple pink brown black white gray gold silver violet
turquoise""".split()
ANIMALS = """cat dog rabbit hamster parrot horse turtle goldfish mouse snake lizard pony goat duck
hen""".split()
FOODS = """pizza pasta soup rice salad bread cheese sushi curry cake honey chocolate beans fish
noodles apples""".split()
JOBS = """teacher doctor baker farmer pilot nurse painter driver lawyer singer writer cook dentist
engineer actor judge
plumber sailor tailor waiter gardener librarian mechanic chemist barber""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December".split()
)
ROOMS = "kitchen bedroom bathroom hallway garage office garden basement attic study".split() + [
    "living room"
]

# Words that templates use, and so have a token of their own. Were one held out, nothing could teach
# its letters.
NEVER_HELD = set(
    """bag ounce fen apart apples books pens cups keys Berlin Lisbon Dublin Delhi Cairo Accra
Quito Santiago Havana Ankara
ache address again amount base behind best bet birthday bring calculate carbon centimeter cheetah
chemistry
china clever cobalt company cop cord cough could current curry cut deduct default definition die
document dog
done duckling eighty end exclude fan feel few fifteen fish fit flight flip food fourth french gall
garden gold
gone grim gun ham happen headache hear helpful hexagon high him how ignore increase inspect judge
learn less
lizard local mark measure member memorize mes message new nine nit north occur opposite over pal
pall pan
party pet phoenix phrase pig pint pit point potassium print question rag refuse remain repeat
reply request
respond rim round rub sell send sine sold song stem still story summarize sun switch teen theory
tiny
travelling turn verb very victor warm weekday where word wrong yes""".split()
)
