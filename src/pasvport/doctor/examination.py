"""A visit to one server: what it says at the door, whether TLS works, and, with a login, its data connections.

Four short sessions at most: in clear text, protected, with TLS of old, and as the health check's user. Nothing is
written on the server.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, replace

from pasvport.doctor import questions
from pasvport.doctor.certificate import Certificate, read_certificate
from pasvport.doctor.client import Control, Patience, ProbeError, any_tls, dial, tls_of_old
from pasvport.doctor.questions import Credentials, Protection, Wrap, words
from pasvport.doctor.visit import Failure, Listing, LoginSeen, ReuseSeen, TlsSeen, Visit

_STEPS = 10
"""A session may take so many times the patience of one step."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to examine: `visit` has the place filled in; `timeout` seconds for each answer."""

    visit: Visit
    implicit: bool
    timeout: float
    login: Credentials | None = None
    check_login: Credentials | None = None


def examine(order: Order) -> Visit:
    """Visit the server. Raises nothing: what went wrong is in the visit."""
    examiner = _Examiner(order)
    try:
        examiner.run()
    except ProbeError as error:
        examiner.fail(error)
    return examiner.visit


class _Examiner:
    """The course of one visit; `visit` grows as things are seen."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.visit = order.visit

    def run(self) -> None:
        if self._order.implicit:
            self._implicit()
        elif self._clear():
            self._explicit()
        if self.visit.tls is not None and self.visit.tls.works:
            self._old_tls()
        if self.visit.failure is None and self._order.check_login is not None:
            self._check_user(self._order.check_login)

    def fail(self, error: ProbeError) -> None:
        if self.visit.greeting:
            kind = Failure.LOST
        elif error.protocol:
            kind = Failure.NOT_FTP
        else:
            kind = Failure.SILENT if self.visit.reached else Failure.UNREACHABLE
        self._see(failure=kind, why=str(error))

    def _see(self, **found: object) -> None:
        self.visit = replace(self.visit, **found)  # type: ignore[arg-type]

    def _patience(self) -> Patience:
        return Patience(self._order.timeout, self._order.timeout * _STEPS)

    def _open(self) -> Control:
        patience = self._patience()
        control = Control(dial(self.visit.address, self.visit.port, patience), patience)
        self._see(reached=True)
        return control

    # --- the sessions ---------------------------------------------------------------------------------------------

    def _clear(self) -> bool:
        """Whether the server is one to go on with."""
        with self._open() as control:
            if not self._greet(control):
                return False
            self._see(features=questions.ask_features(control))
            if self._order.login is not None:
                seen = questions.log_in(control, self._order.login)
                self._see(login=seen)
                if seen.accepted:
                    self._look_inside(control)
                    self._look_at_epsv(control)
            control.quit()
        return True

    def _explicit(self) -> None:
        with self._open() as control:
            questions.greet(control)
            reply = control.ask("AUTH", "TLS")
            if reply.code != 234:
                self._see(tls=TlsSeen(refusal=words(reply)))
                return
            context = any_tls()
            if self._begin_tls(control, context) and self._order.login is not None:
                self._log_in_protected(control, context, self._order.login)
            control.quit()

    def _implicit(self) -> None:
        with self._open() as control:
            context = any_tls()
            if not self._begin_tls(control, context):
                self._see(failure=Failure.TLS, why=self.visit.tls.trouble if self.visit.tls else "")
                return
            if not self._greet(control):
                return
            self._see(features=questions.ask_features(control))
            if self._order.login is not None:
                self._log_in_protected(control, context, self._order.login)
            control.quit()

    def _greet(self, control: Control) -> bool:
        reply, waited = questions.greet(control)
        self._see(greeting=words(reply), not_ready=waited)
        greeted = 200 <= reply.code < 300
        if not greeted:
            self._see(failure=Failure.REFUSED, why=words(reply))
        return greeted

    def _begin_tls(self, control: Control, context: ssl.SSLContext) -> bool:
        try:
            protected = control.protect(context)
        except ProbeError as error:
            self._see(tls=TlsSeen(trouble=str(error)))
            return False
        self._see(tls=TlsSeen(version=protected.version() or "", certificate=_certificate(protected)))
        return True

    def _old_tls(self) -> None:
        assert self.visit.tls is not None
        with contextlib.suppress(ProbeError), self._open() as control:
            if not self._order.implicit:
                questions.greet(control)
                control.ask("AUTH", "TLS")
            old = control.protect(tls_of_old()).version() or ""
            self._see(tls=replace(self.visit.tls, old=old))
            control.quit()

    def _check_user(self, login: Credentials) -> None:
        """As `option ftp-check` logs in: in clear text."""
        try:
            with self._open() as control:
                questions.greet(control)
                self._see(check_login=questions.log_in(control, login))
                control.quit()
        except ProbeError as error:
            self._see(check_login=LoginSeen(login.user, accepted=False, reply=str(error)))

    # --- behind the login -----------------------------------------------------------------------------------------

    def _log_in_protected(self, control: Control, context: ssl.SSLContext, login: Credentials) -> None:
        before = self.visit.login
        seen = questions.log_in(control, login)
        looked = before is not None and before.accepted
        if not looked:
            self._see(login=replace(seen, needs_tls=seen.accepted and before is not None))
        if not seen.accepted:
            return
        control.ask("PBSZ", "0")
        if not control.ask("PROT", "P").is_positive:
            return
        if not looked:
            self._look_inside(control, Protection(control, context))
        passive = self.visit.passive
        if passive is not None and passive.every_port and not passive.trouble:
            self._try_reuse(control, context)
        if not looked:
            self._look_at_epsv(control)

    def _look_inside(self, control: Control, wrap: Wrap | None = None) -> None:
        if self.visit.features is None:
            self._see(features=questions.ask_features(control))
        passive = questions.ask_passive(control)
        self._see(passive=passive)
        if not passive.every_port:
            return
        port = questions.open_port(control)
        passive = replace(passive, dialled=port)
        patience = self._patience()
        try:
            connection = dial(self.visit.address, port, patience)
        except ProbeError as error:
            self._see(passive=replace(passive, trouble=str(error)))
            return
        self._see(passive=passive, listing=questions.list_directory(control, connection, patience, wrap))

    def _look_at_epsv(self, control: Control) -> None:
        """Last of all, since it may cost the session."""
        passive = self.visit.passive
        if passive is None or not passive.targets:
            return
        seen = questions.ask_extended(control, passive)
        if len(seen.ports) > len(passive.ports) and not passive.trouble:
            try:
                dial(self.visit.address, seen.ports[-1], self._patience()).close()
            except ProbeError as error:
                seen = replace(seen, epsv_trouble=str(error))
        self._see(passive=seen)

    def _try_reuse(self, control: Control, context: ssl.SSLContext) -> None:
        # Resumed first: a server that misses the resumption may end the whole session (vsftpd does).
        resumed = self._protected_list(control, Protection(control, context))
        try:
            without = self._protected_list(control, Protection(control, context, resume=False))
        except ProbeError as error:
            without = Listing(trouble=str(error))
        self._see(reuse=ReuseSeen(without.trouble, resumed.trouble))

    def _protected_list(self, control: Control, wrap: Wrap) -> Listing:
        patience = self._patience()
        connection = dial(self.visit.address, questions.open_port(control), patience)
        return questions.list_directory(control, connection, patience, wrap)


def _certificate(protected: ssl.SSLSocket) -> Certificate | None:
    der = protected.getpeercert(binary_form=True)
    try:
        return read_certificate(der) if der else None
    except ValueError:
        return None
