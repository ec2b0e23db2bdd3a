"""stub"""


def compatibility(folder):
    return {}


def markdown(found):
    return ""
