"""Names that options can take, and what stands behind each: methods, heads, backbones, embeddings, tasks.

Entries register themselves where they are defined. Nothing is frozen: what registers later, such as a plugin, is
known from then on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from mamol.core.errors import MamolError

T = TypeVar("T")
E = TypeVar("E")


class Registry(Mapping[str, T]):
    """Name to entry, in the order of registration.

    Attributes:
        what: What an entry is, for messages: "method".
    """

    def __init__(self, what: str) -> None:
        """Begins empty.

        Args:
            what: What an entry is, for messages.
        """
        self.what = what
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Registers an entry.

        Args:
            name: What an option calls it.
            entry: What stands behind the name.

        Raises:
            MamolError: The name is taken.
        """
        if name in self._entries:
            raise MamolError(f"{self.what} {name!r} is registered already; choose another name")
        self._entries[name] = entry

    def register(self, name: str) -> Callable[[type[E]], type[E]]:
        """Decorates a class that is an entry itself, or whose only instance is: registers it and gives it back.

        Args:
            name: What an option calls it.

        Returns:
            The decorator.
        """

        def decorate(cls: type[E]) -> type[E]:
            self.add(name, self._entry_of(cls))
            return cls

        return decorate

    def _entry_of(self, cls: type[E]) -> T:
        return cls  # type: ignore[return-value]  # a registry of classes

    def __getitem__(self, name: str) -> T:
        """The entry of a name.

        Raises:
            KeyError: There is none; ``find`` has words for users.
        """
        return self._entries[name]

    def find(self, name: str) -> T:
        """The entry of a name.

        Args:
            name: What an option calls it.

        Raises:
            MamolError: There is none; the message lists those that there are, and how more come to be there.
        """
        if name not in self._entries:
            raise MamolError(
                f"{self.what} {name!r} is unknown; known: {', '.join(self._entries)} (plugins=<file> registers others)"
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)


class Instances(Registry[T]):
    """A registry whose decorated classes are made once, without arguments: the instance is the entry."""

    def _entry_of(self, cls: type[E]) -> T:
        return cls()  # type: ignore[return-value]  # a class of instances of T
