"""Made-up homes: the names that fill the Home Assistant templates."""

from __future__ import annotations

AREAS: tuple[str, ...] = (
    "kitchen", "living room", "bedroom", "bathroom", "garage", "office", "hallway", "dining room",
    "basement", "attic", "guest room", "nursery", "laundry room", "utility room", "study",
    "library", "playroom", "master bedroom", "kids room", "conservatory", "porch", "patio",
    "garden", "shed", "workshop", "pantry", "entrance", "lounge", "den", "cellar", "balcony",
    "front yard", "backyard", "driveway", "guest bathroom", "home office", "media room",
    "sun room", "game room", "gym", "sauna", "greenhouse", "corridor", "stairwell", "foyer",
    "closet", "dressing room", "mud room", "music room", "craft room", "rooftop", "terrace",
    "emma's room", "leo's bedroom", "grandma's room", "kids bathroom", "spare room", "loft",
    "back porch", "front hall", "wine cellar", "family room", "breakfast nook", "studio",
    "server room", "boiler room", "carport", "barn", "pool house", "veranda", "landing",
    "tv room", "winter garden", "cloakroom", "storage room", "reading corner", "toilet",
)  # fmt: skip
FLOORS: tuple[str, ...] = (
    "upstairs", "downstairs", "ground", "first", "second", "third", "top", "upper", "lower",
    "main", "mezzanine", "bottom", "middle", "fourth",
    "sixth", "lowest",
)  # fmt: skip
PEOPLE: tuple[str, ...] = (
    "alice", "bob", "carlos", "diana", "emma", "felix", "grace", "henry", "isabel", "jack",
    "kate", "leo", "maria", "noah", "olivia", "paul", "quinn", "rosa", "sam", "tina", "umar",
    "vera", "will", "xenia", "yusuf", "zoe", "mom", "dad", "grandma", "uncle joe", "ravi",
    "mei", "anders", "ingrid", "pedro", "fatima", "george", "hannah", "dave", "mike",
)  # fmt: skip
ZONES: tuple[str, ...] = (
    "home", "work", "school", "office", "gym", "supermarket", "park", "library", "airport",
    "garden", "kindergarten", "train station", "church", "beach", "clinic", "university",
    "mall", "football club", "cabin", "pool", "grandma's house", "garage", "kitchen",
)  # fmt: skip
SWITCHABLE: tuple[str, ...] = (
    "tv", "television", "coffee machine", "coffee maker", "kettle", "heater", "space heater",
    "air purifier", "humidifier", "dehumidifier", "christmas tree", "washing machine", "dryer",
    "dishwasher", "oven", "toaster", "stereo", "radio", "projector", "computer", "printer",
    "game console", "water pump", "pool pump", "fountain", "sprinkler", "irrigation",
    "smart plug", "power strip", "router", "ceiling fan", "extractor fan", "air conditioner",
    "floor heating", "towel warmer", "electric blanket", "aquarium", "doorbell", "siren", "alarm",
    "floor lamp", "table lamp", "lava lamp", "night light", "ceiling light", "desk lamp",
    "fairy lights", "led strip", "spotlights", "chandelier", "porch light", "string lights",
    "guest mode", "vacation mode", "boiler", "immersion heater", "car charger", "monitor",
    "speaker", "subwoofer", "rice cooker", "slow cooker", "freezer", "fridge", "server",
    "hot tub", "jacuzzi", "fireplace", "hood", "microwave", "outlet", "wall plug", "sewing machine",
    "3d printer", "soldering iron", "camera", "baby monitor", "salt lamp", "bedside lamp",
    "garage heater", "bathroom fan", "kitchen radio", "office computer", "bedroom tv",
)  # fmt: skip
LIGHTS: tuple[str, ...] = (
    "ceiling", "reading", "desk", "bedside", "accent", "mood", "corner", "mirror", "counter",
    "cabinet", "stair", "wall", "pendant", "floor", "piano", "shelf", "window", "vanity", "spot",
    "sideboard", "island", "nightstand", "bookshelf", "sofa", "workbench",
)  # fmt: skip
LIGHT_ENTITIES: tuple[str, ...] = (
    "floor lamp", "table lamp", "lava lamp", "night light", "ceiling light", "desk lamp",
    "led strip", "chandelier", "porch light", "string lights", "bedside lamp", "salt lamp",
    "reading light", "mirror light", "spotlight", "pendant light", "fairy lights", "hue go",
    "tv backlight", "flood light", "lightstrip", "sofa lamp", "moon lamp", "christmas lights",
    "piano lamp", "aquarium light", "stair lights", "garden lights", "globe", "neon sign",
)  # fmt: skip
COVERS: tuple[str, ...] = (
    "left curtain", "right curtain", "roller blind", "garage door", "front gate", "skylight",
    "patio awning", "roof window", "south shutter", "main gate", "big window", "left blind",
    "kitchen blind", "bedroom curtain", "balcony awning", "sliding door", "cat flap",
    "projector screen", "sun sail", "west blinds", "roller shutter", "pergola", "barn door",
    "venetian blind", "terrace shade", "car gate", "velux", "dormer window", "drapes",
    "bay window", "porthole", "tent flap",
)  # fmt: skip
LOCKS: tuple[str, ...] = (
    "front door", "back door", "garden gate", "garage lock", "side door", "main entrance",
    "shed door", "cellar door", "patio door", "mailbox", "safe", "office door", "gate",
    "gun cabinet", "bike locker", "kitchen door", "porch door", "nuki", "smart lock", "deadbolt",
    "pantry door", "tool chest",
)  # fmt: skip
PLAYERS: tuple[str, ...] = (
    "tv", "kitchen speaker", "bedroom speaker", "sonos", "soundbar", "living room tv", "radio",
    "apple tv", "chromecast", "hi-fi", "stereo", "bathroom radio", "big tv", "record player",
    "kodi", "google home", "echo", "smart speaker", "media center", "boombox", "projector",
    "shield", "receiver", "jukebox", "office speaker", "denon", "roku", "plex",
)  # fmt: skip
CLIMATES: tuple[str, ...] = (
    "thermostat", "air conditioner", "ac", "heat pump", "radiator", "hallway thermostat",
    "nest", "ecobee", "floor heating", "boiler", "bedroom radiator", "main thermostat", "heater",
    "bathroom heater", "upstairs thermostat", "tado", "furnace", "mini split",
)  # fmt: skip
SCENES: tuple[str, ...] = (
    "movie night", "good morning", "good night", "romantic", "party", "relax", "reading time",
    "dinner", "bright", "cozy", "sunset", "focus", "energize", "tropical twilight", "bedtime",
    "wake up", "away", "leaving home", "arrive home", "cleaning", "yoga", "game day", "cinema",
    "candlelight", "rainforest", "disco", "homework", "brunch", "siesta", "storm",
    "stargazing", "board games", "after school",
)  # fmt: skip
SCRIPTS: tuple[str, ...] = (
    "morning routine", "bedtime routine", "water the plants", "feed the cat", "stop the day",
    "fake presence", "evening routine", "goodbye", "wash day", "panic", "school run",
    "flash the lights", "lock up", "coffee time", "laundry reminder", "pool cleaning",
    "backup", "holiday mode", "guest welcome", "fire drill", "open everything",
    "start the mill", "rinse cycle", "check the oven",
)  # fmt: skip
VACUUMS: tuple[str, ...] = (
    "vacuum", "robot", "roomba", "rover", "roborock", "dusty", "vacuum cleaner", "rosie",
    "robot vacuum", "mopping robot", "deebot", "dirt devil", "mop", "alfred", "dyson", "sucky",
)  # fmt: skip
VALVES: tuple[str, ...] = (
    "main valve", "water valve", "sprinkler valve", "gas valve", "garden valve", "radiator valve",
    "drain valve", "irrigation valve", "lawn valve", "pool valve", "shut-off valve", "hose tap",
    "pond valve", "cistern valve",
)  # fmt: skip
LISTS: tuple[str, ...] = (
    "to do", "todo", "chores", "packing", "wish", "work", "homework", "weekend", "camping",
    "christmas", "errands", "garden", "reading", "movie", "party", "gift", "hardware store",
    "project", "birthday", "bucket", "vacation", "tasks", "cleaning", "kids", "maintenance",
)  # fmt: skip
SENSORS: tuple[str, ...] = (
    "phone", "front door", "motion sensor", "outdoor sensor", "hallway sensor", "laptop", "car",
    "tablet", "water meter", "solar panels", "washing machine", "rain gauge", "weather station",
    "freezer", "greenhouse sensor", "smoke detector", "leak sensor", "remote", "doorbell",
    "router", "nas", "printer", "heat pump", "electric meter", "inverter", "fridge", "aquarium",
    "backyard sensor", "bedroom window", "garage door", "attic sensor", "plant", "watch",
    "fire alarm", "mailbox", "boiler", "pool", "scooter", "drone", "toothbrush", "cat feeder",
    "sofa sensor", "bed", "gas meter", "dishwasher", "trash can", "power wall", "wind sensor",
)  # fmt: skip
PLACES: tuple[str, ...] = (
    "london", "berlin", "new york", "home", "tokyo", "paris", "madrid", "oslo", "amsterdam",
    "the cabin", "chicago", "lisbon", "rome", "sydney", "denver", "seattle", "our beach house",
    "dublin", "kyoto", "nairobi", "lima", "toronto", "vienna", "prague", "austin", "the office",
)  # fmt: skip
ITEMS: tuple[str, ...] = (
    "milk", "eggs", "bread", "butter", "apples", "bananas", "toilet paper", "dish soap", "coffee",
    "green tea", "oat milk", "cheese", "tomatoes", "olive oil", "pasta", "rice", "chicken breast",
    "batteries", "light bulbs", "cat food", "dog treats", "orange juice", "sparkling water",
    "ice cream", "flour", "brown sugar", "salt", "black pepper", "onions", "garlic", "carrots",
    "two lemons", "a dozen eggs", "three avocados", "peanut butter", "strawberry jam", "wine",
    "beer", "shampoo", "toothpaste", "paper towels", "trash bags", "yogurt", "salmon fillets",
    "potatoes", "frozen pizza", "cereal", "honey", "chocolate chips", "hand soap", "diapers",
)  # fmt: skip
TODOS: tuple[str, ...] = (
    "call the plumber", "pay the rent", "water the plants", "book a dentist appointment",
    "fix the fence", "clean the gutters", "walk the dog", "buy a present for anna",
    "renew my passport", "return the library books", "vacuum the car", "change the filters",
    "mow the lawn", "send the invoice", "pick up the dry cleaning", "wash the windows",
    "order new tires", "sunscreen", "hiking boots", "sleeping bag", "write to grandma",
    "finish the report", "paint the door", "charge the drill", "take out the trash",
    "schedule the meeting", "replace the bulb", "iron the shirts", "feed the fish", "tent",
    "oil the hinges", "defrost the chest", "sort the recycling", "knit a scarf",
)  # fmt: skip
TIMERS: tuple[str, ...] = (
    "pizza", "pasta", "egg", "laundry", "tea", "workout", "nap", "cookies", "bread", "meeting",
    "study", "chicken", "rice", "oven", "break", "meditation", "plank", "roast", "cake", "game",
    "homework", "turkey", "steak", "parking", "dinner", "lasagna", "screen time", "stretching",
)  # fmt: skip
MESSAGES: tuple[str, ...] = (
    "dinner is ready", "time to get up", "we are leaving in ten minutes", "the movie is starting",
    "please come downstairs", "the taxi is here", "bedtime kids", "lunch is on the table",
    "someone is at the door", "I will be home late", "the bus is coming", "happy birthday",
    "don't forget your keys", "it is time for school", "the game is on", "breakfast is served",
    "turn down the music", "grandma is here", "the laundry is done", "put on your shoes",
    "the parcel has arrived", "your bath is running",
)  # fmt: skip
QUERIES: tuple[str, ...] = (
    "jazz", "classical music", "the beatles", "miles davis", "rain sounds", "the morning news",
    "white noise", "abba", "dark side of the moon", "christmas songs", "workout mix", "queen",
    "lofi beats", "the daily", "star wars", "disney songs", "bohemian rhapsody", "radio paradise",
    "pink floyd", "kind of blue", "serial", "finding nemo", "chill vibes", "mozart", "daft punk",
    "billie holiday", "ocean waves", "nina simone", "gregorian chants",
)  # fmt: skip
COMMANDS: tuple[str, ...] = (
    "turn off the lights", "turn on the tv", "open the garage door", "close the blinds",
    "lock the front door", "play some jazz", "pause the music", "start the vacuum",
    "turn on the kitchen lights", "turn off the oven", "set the thermostat to 20 degrees",
    "remind me to call mom", "open the curtains", "turn down the volume", "start the dishwasher",
    "turn off the tv", "turn off the heater", "close the garage door", "turn on the fan",
    "stop the music", "switch off the coffee machine", "activate movie night",
    "raise the flag", "turn on the fountain",
)  # fmt: skip
EXTRA_COLORS: tuple[str, ...] = ("violet", "cyan", "magenta", "gold", "teal", "warm white")
ALWAYS_SEEN: frozenset[str] = frozenset(
    {
        "kitchen",
        "laundry room",
        "utility room",
        "kids room",
        "patio",
        "shed",
        "balcony",
        "storage room",
        "soundbar",
        "chromecast",
        "roku",
        "table lamp",
        "doorbell",
        "freezer",
        "phone",
        "car",
        "todo",
        "birthday",
        "butter",
        "salt",
        "garlic",
        "pasta",
        "pizza",
        "tea",
        "speaker",
        "boiler",
        "garden gate",
        "smart lock",
        "dinner is ready",
        "happy birthday",
        "sam",
        "emma",
    }
)
"""Common names that training may not miss, whatever their hash."""
NEVER_SEEN: frozenset[str] = frozenset(
    {
        "stargazing",
        "board games",
        "after school",
        "oil the hinges",
        "defrost the chest",
        "sort the recycling",
        "knit a scarf",
        "billie holiday",
        "ocean waves",
        "nina simone",
        "gregorian chants",
        "pantry door",
        "tool chest",
        "bay window",
        "porthole",
        "tent flap",
        "start the mill",
        "rinse cycle",
        "check the oven",
        "the parcel has arrived",
        "your bath is running",
        "pond valve",
        "cistern valve",
        "sixth",
        "lowest",
        "raise the flag",
        "turn on the fountain",
    }
)
"""Names of kinds that the hash keeps too few of; only held-out sentences use them."""
