"""The way of tokens to their partner, stored at each step.

The record says ``sending`` before the partner is asked. Who finds it so later, with nobody at work
on it, looks at the partner before anything is sent once more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from attrs import evolve

from .._engine.call import Call
from ..errors import ConfigurationError, PlaidProcessorsError, StoreError
from ..handoff.errors import HandoffError, HandoffRefusedError, PartnerApiError
from ..handoff.layer_tokens import Gone
from ..handoff.sending import Sender
from ..redaction import redact
from ..results import ProcessorToken
from ..store.books import Books
from ..store.records import Handoff, HandoffState, LinkQuery
from ..store.sealing import Entry

Hands = Sender | Callable[[ProcessorToken], object]
"""What hands tokens over: a sender, or a function that takes one and returns the reference."""

_UNSETTLED = (HandoffState.SENDING, HandoffState.UNKNOWN)
_KILLED = "the process that was at it ended before its outcome was stored"


def _state_after(error: Exception) -> HandoffState:
    """What a hand-off is that ended with this error, if nothing came before."""
    if isinstance(error, HandoffRefusedError):
        return HandoffState.REFUSED
    if not isinstance(error, HandoffError) or error.outcome_unknown:
        return HandoffState.UNKNOWN
    final = isinstance(error, PartnerApiError) and not error.retryable
    return HandoffState.REFUSED if final else HandoffState.DUE


class Ledger:
    """The hand-offs of an Item to one partner, stored at each step: `handoff.sending.Recorder`."""

    def __init__(
        self, call: Call, books: Books, entry: Entry, partner: str, target: str | None
    ) -> None:
        self._call = call
        self._books = books
        self._entry = entry
        self._partner = partner
        self._target = target
        self._tokens: Sequence[ProcessorToken] = ()  # those that are being handed over
        self._sending = False

    def of(self, token: ProcessorToken) -> Handoff:
        """A token's hand-off, as it is stored."""
        return next(each for each in self._entry.record.handoffs if each.key == token.key)

    async def hand_over(
        self, sender: Hands, tokens: Sequence[ProcessorToken], *, again: bool, gone: Gone
    ) -> None:
        """Hand tokens over, unless the partner has them all."""
        self._tokens, self._sending = tokens, False
        repeatable = isinstance(sender, Sender) and sender.api.repeatable
        if not (again or repeatable):
            for token in tokens:
                await self._settle(sender, token)
        if not again and all(map(self._has, tokens)):
            return
        for token in tokens:
            if token.expired:
                account_id = token.account.account_id
                reissue = f", reissue=[{account_id!r}]" if self._has(token) else ""
                raise HandoffRefusedError(
                    f"the token of the account {account_id} has expired",
                    partner=self._partner,
                    advice=f"Nothing was sent. First call refresh(item_id=…{reissue}), which makes "
                    "a new one.",
                )
        earlier = {each.key: self.of(each) for each in tokens}
        try:
            if isinstance(sender, Sender):
                target = self._target or ""
                await sender.deliver(self._call, tokens, target, self, again=again, gone=gone)
            else:
                await self._call_back(sender)
        except BaseException as error:
            # An interruption that came with the answer is raised from the answer's error.
            cause = error if isinstance(error, Exception) else error.__cause__
            if isinstance(cause, Exception):
                await self._failed(cause, earlier, settled=repeatable)
            elif isinstance(sender, Sender) and self._sending and self._call.nothing_sent():
                await self._store(earlier.values())  # interrupted in time
            raise

    def _has(self, token: ProcessorToken) -> bool:
        """Whether the partner has the token, for this target."""
        handoff = self.of(token)
        same = self._target is None or handoff.target in (None, self._target)
        fits = same and handoff.fingerprint == token.fingerprint
        return fits and handoff.state is HandoffState.DONE

    async def _settle(self, sender: Hands, token: ProcessorToken) -> None:
        """Find out what became of an earlier hand-off whose outcome is not known.

        Raises:
            HandoffRefusedError: that cannot be told.
        """
        handoff, found = self.of(token), dict[str, object]()
        if handoff.state not in _UNSETTLED:
            return
        target = handoff.target or self._target or ""
        if isinstance(sender, Sender) and target == self._target:
            found = dict(await sender.look(self._call, target))
            if handoff.before is None and not found:
                return
            if handoff.before is not None and found.keys() - handoff.before:
                others = await self._call.port.run(partial(self._other_references, handoff))
                known = {*handoff.before, *others}
                found = {name: each for name, each in found.items() if name not in known}
                if len(found) == 1:
                    done = evolve(handoff, state=HandoffState.DONE, before=None, error=None)
                    await self._store([evolve(done, target=target, reference=next(iter(found)))])
                    self._call.check()
                    return
        error = handoff.error or _KILLED
        await self._store([evolve(handoff, state=HandoffState.UNKNOWN, error=error)])
        where = f" for {target}" if target else ""
        raise HandoffRefusedError(
            f"{self._partner} may have the account {token.account.account_id} already{where} "
            f"(found: {', '.join(found) or 'nothing'}): {error}",
            partner=self._partner,
            advice="Nothing was sent. Look there, after a while; if it has it, hand over with a "
            "function that returns its reference, and else the same again, both with again=True: "
            "your word.",
            outcome_unknown=True,
            existing=tuple(found.values()),
        )

    def _other_references(self, handoff: Handoff) -> set[str]:
        """What is stored as made of other tokens."""
        return {
            each.reference
            for record in self._books.records(LinkQuery(processor=self._partner))
            for each in record.handoffs
            if each.reference is not None
            and (record.key, each.key) != (self._entry.record.key, handoff.key)
        }

    async def _call_back(self, function: Callable[[ProcessorToken], object]) -> None:
        (token,) = self._tokens
        await self.sending()
        reference = await self._call.tell(function, token)
        if not isinstance(reference, (str, type(None))):
            name = type(reference).__name__
            raise TypeError(f"sender must return the partner's reference or None, not {name}")
        if reference and redact(reference) != reference:
            raise ConfigurationError("sender returned a token: return the partner's reference")
        if reference is not None:  # without what a database may refuse
            reference = reference.replace("\0", "").encode(errors="replace").decode()
        await self.done({token.account.account_id: reference})
        self._call.check()

    async def sending(self, before: Collection[str] | None = None) -> None:
        """See `handoff.sending.Recorder`."""
        await self._store(
            evolve(
                self.of(token),
                state=HandoffState.SENDING,
                target=self._target,
                fingerprint=token.fingerprint,
                before=None if before is None else tuple(before),
                error=None,
            )
            for token in self._tokens
        )
        self._sending = True

    async def done(
        self, references: Mapping[str, str | None], missing: Collection[str] = ()
    ) -> None:
        """See `handoff.sending.Recorder`."""
        changed = []
        for token in self._tokens:
            account_id = token.account.account_id
            known = evolve(self.of(token), target=self._target, fingerprint=token.fingerprint)
            if account_id in missing:
                error = f"{self._partner} took the token, and did not list it afterwards"
                known = evolve(known, state=HandoffState.UNKNOWN, error=error)
            else:
                reference = references[account_id]
                known = evolve(known, state=HandoffState.DONE, reference=reference)
                known = evolve(known, before=None, error=None)
            changed.append(known)
        try:
            await self._store(changed)
        except StoreError as error:
            named = ", ".join(str(each) for each in references.values())
            error.add_note(f"{self._partner} has it, as {named}, but that could not be stored.")
            raise

    async def _failed(
        self, error: Exception, earlier: Mapping[tuple[str, str], Handoff], *, settled: bool
    ) -> None:
        """Store how a hand-off ended that raised an error.

        What came before it counts too, unless the partner was read back, which settled that.
        """
        if isinstance(error, StoreError) or not (self._sending or isinstance(error, HandoffError)):
            return  # it stays as it is stored
        state = _state_after(error)
        # What other code than the package's says may be a secret.
        text = redact(str(error)) if isinstance(error, HandoffError) else type(error).__name__
        changed = []
        for token in self._tokens:
            now, was = self.of(token), earlier[token.key]
            if state is HandoffState.UNKNOWN:
                now = evolve(now, state=state, error=text)
            elif was.state in _UNSETTLED and not settled:
                now = evolve(was, state=HandoffState.UNKNOWN, error=text)
            elif was.state is HandoffState.DONE:
                now = was
            else:
                now = evolve(was, state=state, target=self._target, error=text)
            changed.append(now)
        try:
            await self._store(changed)
        except PlaidProcessorsError as second:
            error.add_note(f"The store could not be told: {second}")

    async def _store(self, changed: Iterable[Handoff]) -> None:
        """Store changed hand-offs, unless another call has taken one of them over meanwhile."""
        new = {each.key: each for each in changed}
        handoffs = tuple(new.get(each.key, each) for each in self._entry.record.handoffs)
        # What became of a request is the truth, whatever another call has stored since.
        change = partial(
            self._books.change, self._entry, handoffs=handoffs, unless_taken=not self._sending
        )
        self._entry = await self._call.port.run(change)
