"""Make the book: a page for each feature, and guides, as a site that works from the file system.

make         The command: pages, navigation, site.
chapters     The pages of the practices.
writing      Texts, code and tables as Markdown.
"""
