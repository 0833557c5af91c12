"""The closed set of intents and slots, and the mapping of the sources' labels onto it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

HWU64_INTENTS: tuple[str, ...] = (
    "alarm_query", "alarm_remove", "alarm_set", "audio_volume_down", "audio_volume_mute",
    "audio_volume_up", "calendar_query", "calendar_remove", "calendar_set", "cooking_recipe",
    "datetime_convert", "datetime_query", "email_addcontact", "email_query", "email_querycontact",
    "email_sendemail", "general_affirm", "general_commandstop", "general_confirm",
    "general_dontcare", "general_explain", "general_joke", "general_negate", "general_praise",
    "general_quirky", "general_repeat", "iot_cleaning", "iot_coffee", "iot_hue_lightdim",
    "iot_hue_lightup", "lists_createoradd", "lists_query", "lists_remove", "music_likeness",
    "music_query", "music_settings", "news_query", "play_audiobook", "play_game", "play_music",
    "play_podcasts", "play_radio", "qa_currency", "qa_definition", "qa_factoid", "qa_maths",
    "qa_stock", "recommendation_events", "recommendation_locations", "recommendation_movies",
    "social_post", "social_query", "takeaway_order", "takeaway_query", "transport_query",
    "transport_taxi", "transport_ticket", "transport_traffic", "weather_query",
)  # fmt: skip
SNIPS_INTENTS: tuple[str, ...] = (
    "AddToPlaylist", "BookRestaurant", "RateBook", "SearchCreativeWork", "SearchScreeningEvent",
)  # fmt: skip
HOME_INTENTS: tuple[str, ...] = (
    "HassBroadcast", "HassCancelAllTimers", "HassCancelTimer", "HassClimateGetTemperature",
    "HassClimateSetTemperature", "HassCloseCover", "HassDecreaseTimer", "HassGetState",
    "HassIncreaseTimer", "HassLightSet", "HassListAddItem", "HassListCompleteItem", "HassLock",
    "HassMediaNext", "HassMediaPause", "HassMediaPrevious", "HassMediaSearchAndPlay",
    "HassMediaUnpause", "HassNevermind", "HassOpenCover", "HassPauseTimer", "HassRespond",
    "HassSetPosition", "HassSetVolume", "HassShoppingListAddItem",
    "HassShoppingListCompleteItem", "HassStartTimer", "HassTimerStatus", "HassTurnOff",
    "HassTurnOn", "HassUnlock", "HassUnpauseTimer", "HassVacuumReturnToBase",
)  # fmt: skip
OTHER = "other"
INTENTS: tuple[str, ...] = (*HWU64_INTENTS, *SNIPS_INTENTS, *HOME_INTENTS, OTHER)

SLOTS: tuple[str, ...] = (
    "alarm_type", "album", "app_name", "area", "artist", "audiobook_author", "audiobook_name",
    "best_rating", "brightness", "business_name", "business_type", "change_amount", "city",
    "coffee_type", "color", "condition_description", "condition_temperature",
    "conversation_command", "cooking_type", "country", "cuisine", "currency_name",
    "current_location", "date", "definition_word", "device_class", "drink_type",
    "email_address", "email_folder", "entity_name", "event_name", "facility", "floor",
    "food_type", "game_name", "general_frequency", "genre", "geographic_poi", "hours",
    "ingredient", "item", "joke_type", "list_name", "location_name", "meal_type", "media_class",
    "media_type", "message", "minutes", "movie_name", "movie_type", "music_descriptor",
    "music_item", "name", "news_topic", "object_location_type", "object_name",
    "object_part_of_series_type", "object_select", "object_type", "order_type",
    "party_size_description", "party_size_number", "person", "personal_info", "place_name",
    "player_setting", "playlist", "playlist_owner", "podcast_descriptor", "podcast_name", "poi",
    "position", "radio_name", "rating_unit", "rating_value", "region", "relation",
    "restaurant_name", "restaurant_type", "search_query", "seconds", "served_dish", "service",
    "sort", "spatial_relation", "start_hours", "start_minutes", "start_seconds", "state",
    "temperature", "time", "time_range", "time_zone", "timeofday", "track", "transport_agency",
    "transport_descriptor", "transport_name", "transport_type", "volume_level",
    "weather_descriptor", "year",
)  # fmt: skip

INTENT_ALIASES: dict[str, str] = {
    "GetWeather": "weather_query",
    "HassGetWeather": "weather_query",
    "PlayMusic": "play_music",
    "HassGetCurrentDate": "datetime_query",
    "HassGetCurrentTime": "datetime_query",
    "iot_hue_lighton": "HassTurnOn",
    "iot_wemo_on": "HassTurnOn",
    "iot_hue_lightoff": "HassTurnOff",
    "iot_wemo_off": "HassTurnOff",
    "iot_hue_lightchange": "HassLightSet",
    "HassVacuumStart": "iot_cleaning",
}
SLOT_ALIASES: dict[str, str] = {
    "artist_name": "artist",
    "color_type": "color",
    "device_type": "name",
    "domain": "device_class",
    "house_place": "area",
    "music_genre": "genre",
    "playlist_name": "playlist",
    "song_name": "track",
    "timeRange": "time_range",
}
INTENT_SLOT_ALIASES: dict[tuple[str, str], str] = {
    ("GetWeather", "state"): "region",
    ("BookRestaurant", "state"): "region",
    ("HassGetWeather", "name"): "place_name",
    ("HassListAddItem", "name"): "list_name",
    ("HassListCompleteItem", "name"): "list_name",
}
SWITCH_INTENTS = frozenset({"HassTurnOn", "HassTurnOff"})
KIND_INTENTS = frozenset(
    {"HassTurnOn", "HassTurnOff", "HassOpenCover", "HassCloseCover", "HassLock", "HassUnlock",
     "HassGetState"}
)  # fmt: skip
_POLITE = r"^\W*(?:(?:hey|ok|okay|please|can|could|would|you|i'd|like|to|i|want)\W+)*"
_VERB = re.compile(_POLITE + r"(open|raise|lift|lock|close|shut|lower|unlock)\b", re.IGNORECASE)
_VERB_INTENTS: dict[tuple[str, str], str] = {
    ("HassTurnOn", "open"): "HassOpenCover",
    ("HassTurnOn", "raise"): "HassOpenCover",
    ("HassTurnOn", "lift"): "HassOpenCover",
    ("HassTurnOn", "lock"): "HassLock",
    ("HassTurnOff", "close"): "HassCloseCover",
    ("HassTurnOff", "shut"): "HassCloseCover",
    ("HassTurnOff", "lower"): "HassCloseCover",
    ("HassTurnOff", "unlock"): "HassUnlock",
}
_KINDS = re.compile(
    r"\b(lights?|lighting|lamps?|fans?|garage doors?|doors?|windows?|gates?|locks?|shutters?"
    r"|carbon monoxide|batter(?:y|ies)|motion|smoke|gas|sound|vibration|tamper(?:ing)?"
    r"|(?:apparent|reactive) power|power|energy|humidity|moisture|temperature|illuminance"
    r"|air quality(?: index)?|(?:atmospheric|air) pressure|pressure|co2|carbon dioxide"
    r"|voltage|distance|speed|weight|volume|frequency)\b",
    re.IGNORECASE,
)
MAX_REPEAT = 2
"""How often one slot may occur: the second value is called ``<slot>_2``."""


@dataclass(frozen=True, slots=True)
class Span:
    """A slot value as a part of the sentence: ``text[start:end]``."""

    start: int
    end: int
    slot: str


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled sentence; ``spans`` are ordered and do not overlap."""

    text: str
    intent: str
    spans: tuple[Span, ...] = ()
    source: str = ""
    tags: frozenset[str] = field(default_factory=frozenset)

    def slots(self) -> dict[str, str]:
        """Return the slots as the model writes them, in order of appearance."""
        return {name: self.text[s.start : s.end] for name, s in named_spans(self.spans)}


def named_spans(spans: tuple[Span, ...]) -> list[tuple[str, Span]]:
    """Pair every span with its key; repeats get ``_2``, further repeats are left out."""
    counts: dict[str, int] = {}
    named: list[tuple[str, Span]] = []
    for span in spans:
        count = counts[span.slot] = counts.get(span.slot, 0) + 1
        if count <= MAX_REPEAT:
            named.append((span.slot if count == 1 else f"{span.slot}_{count}", span))
    return named


def canonical_intent(intent: str, text: str) -> str:
    """Map a source's intent onto the closed set."""
    intent = INTENT_ALIASES.get(intent, intent)
    verb = _VERB.search(text)
    return _VERB_INTENTS.get((intent, verb[1].lower()), intent) if verb else intent


def canonical_slot(intent: str, slot: str) -> str:
    """Map a source's slot (under the source's intent name) onto the closed set."""
    base, _, number = slot.partition("_2")
    mapped = INTENT_SLOT_ALIASES.get((intent, base)) or SLOT_ALIASES.get(base, base)
    return f"{mapped}_2" if slot.endswith("_2") and not number else mapped


def kind_span(text: str, intent: str, taken: list[tuple[int, int]]) -> Span | None:
    """Find the word that says which kind of thing is meant, outside the ``taken`` parts."""
    if intent not in KIND_INTENTS:
        return None
    verb = _VERB.search(text)
    for match in _KINDS.finditer(text, verb.end() if verb else 0):
        if all(match.end() <= start or match.start() >= end for start, end in taken):
            return Span(match.start(), match.end(), "device_class")
    return None


def canonical_example(example: Example) -> Example:
    """Return the example in the closed label set, with the kind word as a slot."""
    intent = canonical_intent(example.intent, example.text)
    spans = [Span(s.start, s.end, canonical_slot(example.intent, s.slot)) for s in example.spans]
    have = {s.slot for s in spans}
    if "device_class" not in have and (intent not in SWITCH_INTENTS or "name" not in have):
        kind = kind_span(example.text, intent, [(s.start, s.end) for s in spans])
        if kind is not None:
            spans.append(kind)
    spans.sort(key=lambda s: s.start)
    return Example(example.text, intent, tuple(spans), example.source, example.tags)


def canonical_record(text: str, intent: str, slots: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Map a record without positions; already canonical records stay as they are."""
    new_intent = canonical_intent(intent, text)
    renamed = {canonical_slot(intent, slot): value for slot, value in slots.items()}
    taken: list[tuple[int, int]] = []
    for value in renamed.values():
        at = text.find(value)
        if at >= 0:
            taken.append((at, at + len(value)))
    if "device_class" not in renamed and (
        new_intent not in SWITCH_INTENTS or "name" not in renamed
    ):
        kind = kind_span(text, new_intent, taken)
        if kind is not None:
            renamed["device_class"] = text[kind.start : kind.end]
    return new_intent, renamed
