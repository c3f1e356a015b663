"""`python -m ferembed.cli`"""

from ferembed.cli.app import run

if __name__ == "__main__":
    run()
