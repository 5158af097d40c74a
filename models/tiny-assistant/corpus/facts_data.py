"""The facts the model is taught, as tables."""

CAPITALS = {}
for line in """France Paris|Germany Berlin|Spain Madrid|Italy Rome|Portugal Lisbon
Austria Vienna|Greece Athens|Poland Warsaw
Hungary Budapest|Norway Oslo|Sweden Stockholm|Finland Helsinki|Denmark Copenhagen
Ireland Dublin|Belgium Brussels
the_Netherlands Amsterdam|Switzerland Bern|the_United_Kingdom London|Iceland Reykjavik
Russia Moscow|Ukraine Kyiv
Belarus Minsk|Estonia Tallinn|Latvia Riga|Lithuania Vilnius|Romania Bucharest|Bulgaria Sofia
Serbia Belgrade
Croatia Zagreb|Slovenia Ljubljana|Slovakia Bratislava|the_Czech_Republic Prague|Albania Tirana
Malta Valletta|Cyprus Nicosia
Turkey Ankara|Egypt Cairo|Morocco Rabat|Tunisia Tunis|Algeria Algiers|Libya Tripoli
Kenya Nairobi|Ethiopia Addis_Ababa
Nigeria Abuja|Ghana Accra|Senegal Dakar|Uganda Kampala|Rwanda Kigali|Zambia Lusaka
Zimbabwe Harare|Angola Luanda|Sudan Khartoum
Madagascar Antananarivo|Namibia Windhoek|Mali Bamako|Somalia Mogadishu|China Beijing
Japan Tokyo|India New_Delhi
South_Korea Seoul|North_Korea Pyongyang|Thailand Bangkok|Vietnam Hanoi|Indonesia Jakarta
the_Philippines Manila
Malaysia Kuala_Lumpur|Nepal Kathmandu|Pakistan Islamabad|Bangladesh Dhaka|Afghanistan Kabul
Iran Tehran|Iraq Baghdad
Syria Damascus|Lebanon Beirut|Jordan Amman|Saudi_Arabia Riyadh|Qatar Doha|Oman Muscat
Yemen Sanaa|Mongolia Ulaanbaatar
Kazakhstan Astana|Uzbekistan Tashkent|Georgia Tbilisi|Armenia Yerevan|Azerbaijan Baku
Cambodia Phnom_Penh|Laos Vientiane
Australia Canberra|New_Zealand Wellington|Fiji Suva|Canada Ottawa|the_United_States Washington
Mexico Mexico_City
Cuba Havana|Jamaica Kingston|Haiti Port-au-Prince|Brazil Brasilia|Argentina Buenos_Aires
Chile Santiago|Peru Lima
Colombia Bogota|Venezuela Caracas|Ecuador Quito|Bolivia Sucre|Paraguay Asuncion
Uruguay Montevideo|Panama Panama_City
Honduras Tegucigalpa|Nicaragua Managua|Luxembourg Luxembourg""".replace("\n", "|").split("|"):
    country, capital = line.strip().split(" ")
    CAPITALS[country.replace("_", " ")] = capital.replace("_", " ")

ELEMENTS = """hydrogen H|helium He|lithium Li|beryllium Be|boron B|carbon C|nitrogen N
oxygen O|fluorine F|neon Ne|sodium Na
magnesium Mg|aluminum Al|silicon Si|phosphorus P|sulfur S|chlorine Cl|argon Ar|potassium K
calcium Ca|scandium Sc|titanium Ti
vanadium V|chromium Cr|manganese Mn|iron Fe|cobalt Co|nickel Ni|copper Cu|zinc Zn|gallium Ga
germanium Ge|arsenic As|selenium Se
bromine Br|krypton Kr|rubidium Rb|strontium Sr|yttrium Y|zirconium Zr|niobium Nb|molybdenum Mo
technetium Tc|ruthenium Ru
rhodium Rh|palladium Pd|silver Ag|cadmium Cd|indium In|tin Sn|antimony Sb|tellurium Te
iodine I|xenon Xe|cesium Cs|barium Ba"""
ELEMENTS = [tuple(e.strip().split()) for e in ELEMENTS.replace("\n", "|").split("|")]
HEAVY = [
    ("tungsten", "W", 74),
    ("platinum", "Pt", 78),
    ("gold", "Au", 79),
    ("mercury", "Hg", 80),
    ("lead", "Pb", 82),
    ("radon", "Rn", 86),
    ("radium", "Ra", 88),
    ("uranium", "U", 92),
    ("plutonium", "Pu", 94),
]

UNITS = [
    (line.split("=")[0], line.split("=")[1])
    for line in """kilometer=1000 meters|meter=100 centimeters
centimeter=10 millimeters|kilogram=1000 grams|gram=1000 milligrams|ton=1000 kilograms
liter=1000 milliliters|minute=60 seconds
hour=60 minutes|day=24 hours|week=7 days|year=12 months|decade=10 years|century=100 years
millennium=1000 years|foot=12 inches
yard=3 feet|mile=5280 feet|pound=16 ounces|gallon=4 quarts|quart=2 pints|pint=2 cups
cup=16 tablespoons|tablespoon=3 teaspoons
dozen=12 pieces|gross=144 pieces|score=20 pieces|byte=8 bits|kilobyte=1000 bytes
kibibyte=1024 bytes|megabyte=1000 kilobytes
gigabyte=1000 megabytes|terabyte=1000 gigabytes|dollar=100 cents|euro=100 cents
full circle=360 degrees|right angle=90 degrees
leap year=366 days|second=1000 milliseconds|inch=2.54 centimeters""".replace("\n", "|").split("|")
]

CURRENCIES = dict(
    p.strip().replace("_", " ").split("=")
    for p in """Japan=yen|China=yuan|India=rupee|Russia=ruble|Brazil=real
Mexico=peso|Turkey=lira|Poland=zloty|Sweden=krona|Switzerland=franc|South_Korea=won
Thailand=baht|Israel=shekel|Egypt=pound
South_Africa=rand|Hungary=forint|France=euro|Germany=euro|Vietnam=dong|Ukraine=hryvnia
Kenya=shilling|Nigeria=naira
Peru=sol|Denmark=krone|the_United_States=dollar""".replace("\n", "|").split("|")
)
LANGUAGES = dict(
    p.strip().replace("_", " ").split("=")
    for p in """France=French|Germany=German|Spain=Spanish|Italy=Italian
Portugal=Portuguese|Brazil=Portuguese|Mexico=Spanish|Japan=Japanese|China=Chinese
Russia=Russian|Poland=Polish|Greece=Greek
Turkey=Turkish|Sweden=Swedish|Norway=Norwegian|Denmark=Danish|Finland=Finnish
Hungary=Hungarian|Egypt=Arabic|Iran=Persian
South_Korea=Korean|Vietnam=Vietnamese|Thailand=Thai|Austria=German|Argentina=Spanish""".replace(
        "\n", "|"
    ).split("|")
)
YOUNG = dict(
    p.split("=")
    for p in (
        "dog=puppy|cat=kitten|cow=calf|horse=foal|sheep=lamb|pig=piglet|hen=chick|"
        "duck=duckling|goose=gosling|lion=cub|bear=cub|deer=fawn|goat=kid|frog=tadpole|"
        "kangaroo=joey|swan=cygnet|elephant=calf|seal=pup|owl=owlet"
    ).split("|")
)
OPPOSITES = dict(
    p.split("=")
    for p in (
        "hot=cold|big=small|up=down|left=right|day=night|black=white|open=closed|"
        "early=late|fast=slow|full=empty|hard=soft|high=low|light=dark|long=short|"
        "old=young|rich=poor|strong=weak|wet=dry|wide=narrow|win=lose"
    ).split("|")
)
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()

# What each verb of the program does, in the words the model should use.
COMMANDS = {
    "run": "answers a prompt with a model",
    "chat": "opens a chat in the terminal",
    "serve": "starts an HTTP server with an OpenAI-style API",
    "bench": "measures speed: latency, throughput and operators",
    "tokenize": "turns text into token ids and back",
    "inspect": "shows a model's tensors and memory plan",
    "doctor": "checks this machine and runs a self-test",
    "eval": "measures the accuracy of the embedded model",
    "quantize": "makes a smaller copy of a model",
}
COMMAND_TASKS = {
    "run": ["answer a prompt", "get one answer from a model", "generate text from a prompt"],
    "chat": ["chat in the terminal", "talk with a model in the terminal", "open a chat"],
    "serve": ["start a server", "start the HTTP API", "serve a model over HTTP"],
    "bench": ["measure speed", "measure the throughput", "measure the latency"],
    "tokenize": [
        "turn text into tokens",
        "see the token ids of a text",
        "count the tokens of a text",
    ],
    "inspect": [
        "see the tensors of a model",
        "look inside a model",
        "see the memory plan of a model",
    ],
    "doctor": ["check my machine", "run the self-test", "see what my CPU supports"],
    "eval": [
        "measure accuracy",
        "measure the accuracy of the embedded model",
        "test the embedded model's skills",
    ],
    "quantize": ["make a model smaller", "quantize a model", "make a smaller copy of a model"],
}
EXTRA = [
    ("the largest planet", "Jupiter is the largest planet."),
    ("the smallest planet", "Mercury is the smallest planet."),
    ("the hottest planet", "Venus is the hottest planet."),
    ("the red planet", "Mars is the red planet."),
    ("the planet with the famous rings", "Saturn is the planet with the famous rings."),
    ("the largest ocean", "The Pacific is the largest ocean."),
    ("the longest river", "The Nile is the longest river."),
    ("the highest mountain", "Mount Everest is the highest mountain."),
    ("the largest country", "Russia is the largest country."),
    ("the smallest country", "Vatican City is the smallest country."),
    ("the largest animal", "The blue whale is the largest animal."),
    ("the fastest land animal", "The cheetah is the fastest land animal."),
    ("the tallest animal", "The giraffe is the tallest animal."),
    ("the largest continent", "Asia is the largest continent."),
    ("the smallest continent", "Australia is the smallest continent."),
    ("the largest desert", "Antarctica is the largest desert."),
    ("the lightest element", "Hydrogen is the lightest element."),
    ("the chemical formula of water", "The chemical formula of water is H2O."),
    ("the chemical formula of salt", "The chemical formula of salt is NaCl."),
    ("the boiling point of water", "Water boils at 100 degrees Celsius."),
    ("the freezing point of water", "Water freezes at 0 degrees Celsius."),
    ("the largest organ of the body", "The skin is the largest organ of the body."),
    ("the star nearest to Earth", "The Sun is the star nearest to Earth."),
    ("the number of planets", "There are 8 planets."),
    ("the number of continents", "There are 7 continents."),
    ("the number of days in a normal year", "A normal year has 365 days."),
    ("the number of letters in the alphabet", "The alphabet has 26 letters."),
    ("the number of legs of a spider", "A spider has 8 legs."),
    ("the number of legs of an insect", "An insect has 6 legs."),
    ("the number of sides of a triangle", "A triangle has 3 sides."),
    ("the number of sides of a square", "A square has 4 sides."),
    ("the number of sides of a pentagon", "A pentagon has 5 sides."),
    ("the number of sides of a hexagon", "A hexagon has 6 sides."),
    ("the number of sides of an octagon", "An octagon has 8 sides."),
]
