"""Names and words of the worlds of text whose tokens are words."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    """
    Ada Adam Agnes Albert Alice Anna Anton Arthur Bella Boris Carl Carmen Cecil Clara Daniel Diana Edgar Edith
    Elena Emil Erik Esther Felix Flora Frank Gloria Greta Hanna Hugo Ida Igor Irene Isaac Ivan Jonas Julia
    Karin Leo Lena Lucas Marta Max Nina Oscar Paula Rosa Simon Sofia Victor Vera
    """
)

LAST_NAMES = _words(
    """
    Abbott Adler Archer Baker Barlow Becker Bennett Bishop Blake Brandt Carter Chandler Cole Cooper Crane
    Dalton Doyle Fischer Fletcher Foster Gardner Gibson Grant Hale Hansen Harper Hunter Keller Lambert Lang
    Mason Meyer Miller Moreau Novak Olsen Palmer Parker Porter Quinn Reed Rossi Sawyer Silva Stone Tanner
    Turner Walker Weber Wright
    """
)

CITIES = _words(
    """
    Amsterdam Athens Bangkok Barcelona Belgrade Bergen Berlin Bilbao Bombay Boston Brussels Budapest Cairo
    Calgary Chicago Cologne Copenhagen Dakar Dallas Delhi Denver Dublin Florence Geneva Genoa Glasgow Hamburg
    Havana Helsinki Istanbul Jakarta Karachi Krakow Lagos Lima Lisbon London Lyon Madrid Manila Milan Montreal
    Nairobi Naples Osaka Oslo Paris Prague Quito Zagreb
    """
)

LANGUAGES = _words(
    """
    Albanian Amharic Arabic Armenian Basque Bengali Breton Bulgarian Burmese Catalan Croatian Czech Danish
    Dutch English Estonian Finnish French Georgian German Greek Hausa Hebrew Hindi Hungarian Icelandic Irish
    Italian Japanese Khmer Korean Latvian Malay Maltese Mongolian Nepali Persian Polish Portuguese Punjabi
    Quechua Romanian Russian Spanish Swahili Swedish Tamil Thai Turkish Welsh
    """
)

INSTRUMENTS = _words(
    """
    accordion bagpipe balalaika bandoneon banjo bassoon bugle castanets celesta cello clarinet cornet cymbals
    dulcimer fiddle flute glockenspiel gong guitar harmonica harp harpsichord horn kazoo koto lute lyre
    mandolin maracas marimba oboe ocarina organ piano piccolo recorder saxophone sitar spinet tambourine
    theremin triangle trombone trumpet tuba ukulele viola violin xylophone zither
    """
)

SUBJECTS = _words(
    """
    acoustics aesthetics algebra anatomy anthropology archaeology astronomy biochemistry biology botany
    cartography chemistry climatology cosmology criminology demography ecology economics entomology ethics
    geography geology geometry geophysics grammar heraldry history hydrology immunology journalism law
    linguistics logic mechanics medicine meteorology mineralogy musicology neurology oceanography optics
    pedagogy pharmacology philology philosophy physics poetry sociology statistics theology
    """
)
