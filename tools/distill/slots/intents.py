"""CLINC150's sentences that mean what an intent of HWU64 means; they have no slots to learn.

HWU64 has some seventy sentences an intent. Only what CLINC150 marks as one thing that HWU64 marks
as one thing too is taken; of such a sentence the intent is learned and nothing after it.
"""

from collections.abc import Sequence

from tools.train.home_command.corpus import Corpus
from tools.train.home_command.labels import Example

INTENT_ALONE = "intent alone"
"""The tag of an example that says nothing of its slots."""
SAME = {
    "alarm": "alarm_set",
    "book_flight": "transport_ticket",
    "calculator": "qa_maths",
    "calendar": "calendar_query",
    "cancel": "general_commandstop",
    "cook_time": "cooking_recipe",
    "date": "datetime_query",
    "definition": "qa_definition",
    "do_you_have_pets": "general_quirky",
    "exchange_rate": "qa_currency",
    "ingredients_list": "cooking_recipe",
    "measurement_conversion": "qa_maths",
    "meeting_schedule": "calendar_query",
    "no": "general_negate",
    "recipe": "cooking_recipe",
    "repeat": "general_repeat",
    "restaurant_suggestion": "recommendation_locations",
    "shopping_list": "lists_query",
    "tell_joke": "general_joke",
    "thank_you": "general_praise",
    "time": "datetime_query",
    "todo_list": "lists_query",
    "traffic": "transport_traffic",
    "uber": "transport_taxi",
    "weather": "weather_query",
    "what_are_your_hobbies": "general_quirky",
    "what_song": "music_query",
    "yes": "general_affirm",
}


def intents_alone(corpus: Corpus) -> Sequence[Example]:
    """Return the sentences of CLINC150 that are for training, as examples of HWU64's intents."""
    return [
        Example(text, SAME[label], (), "clinc150", frozenset({INTENT_ALONE}))
        for text, label in corpus.auxiliary
        if label in SAME
    ]
