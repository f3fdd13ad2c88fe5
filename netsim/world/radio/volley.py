"""A volley: all that a device sends at once, computed as it begins because nothing can disturb it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from operator import sub
from typing import Any, NamedTuple

import simpy

from netsim.core.clock import LAST, succeed_at
from netsim.world.devices.device import Device
from netsim.world.radio.foreseen import Foreseen, Outlook, foresee
from netsim.world.radio.radio import Radio, Tell
from netsim.world.radio.transfers import Message
from netsim.world.radio.units import power_to_db


class Volley(NamedTuple):
    """All that a device sends at once.

    Attributes:
        radio: Its radio.
        sender: The device.
        round: Its round.
        receivers: The receiver of each transfer.
        sizes_bits: The size of each [bit].
        transfers: The transfers.
        silent: Receivers of messages of no bits, which are no transfers.
    """

    radio: Radio
    sender: Device
    round: int
    receivers: Sequence[Device]
    sizes_bits: Sequence[float]
    transfers: Foreseen
    silent: Sequence[int]

    @classmethod
    def of(
        cls,
        radio: Radio,
        sender: Device,
        messages: Sequence[Message],
        devices: Mapping[int, Device] | Sequence[Device],
        round: int,
        outlives: Callable[[Device, float], bool],
    ) -> Volley | None:
        """Compute all that ``sender`` sends from now on to its end; return None if something may disturb it.

        It sends nothing else meanwhile, and no deadline cuts it off. Nothing can disturb it then if nothing about the
        radio can (:meth:`Radio.foreseeable`) and if both ends of each transfer certainly live longer.

        Args:
            radio: The radio.
            sender: The sending device.
            messages: Its messages, receivers and size [bit] each.
            devices: Devices by number.
            round: The sender's round.
            outlives: Returns whether a device certainly lives until after a time [s], whatever it does.
        """
        if not radio.foreseeable(sender, round):
            return None
        links = [(n, bits) for receivers, bits in messages if bits > 0 for n in receivers]
        silent = [n for receivers, bits in messages if bits == 0 for n in receivers]
        numbers, sizes_bits = [n for n, _ in links], [bits for _, bits in links]
        air, power_w = radio.air, sender.tx_power_w
        mean_power = radio.mean_powers(sender.number, numbers)
        transfers = foresee(
            radio.env.now,
            sizes_bits,
            Outlook(air, radio.channel, sender.number, numbers, power_w, mean_power, round),
            air,
            power_w,
            not radio.access.dedicated,
            lambda link: radio.hopeless(sender, numbers[link]),
        )
        receivers = [devices[n] for n in numbers]
        last_s = max(transfers.end_s, default=radio.env.now)
        ends = zip([sender, *receivers], [last_s, *transfers.end_s], strict=True)
        if all(outlives(device, end_s) for device, end_s in ends):
            return cls(radio, sender, round, receivers, sizes_bits, transfers, silent)
        return None

    def send(
        self, kind: str, tell: Tell, answers: dict[int, bool] | None
    ) -> Generator[simpy.Event, Any, list[str]]:
        """Send it (a SimPy process); see :meth:`Radio.send_all`."""
        radio, sender, round, receivers, sizes_bits, transfers, silent = self
        env, start_s, count = radio.env, radio.env.now, len(receivers)
        numbers = [device.number for device in receivers]
        arrive = [left_bits == 0 for left_bits in transfers.left_bits]
        outcomes = ["delivered" if arrives else "outage" for arrives in arrive]
        tell(
            [*silent, *numbers],
            [*[start_s] * len(silent), *transfers.end_s],
            [*[True] * len(silent), *arrive],
        )
        if receivers:
            for device, end_s in zip(receivers, transfers.end_s, strict=True):
                device.book_receiving(end_s)
            sender.meter.book_sending(transfers.end_s, transfers.due_j)
            radio.note_gains(sender.number, dict(zip(numbers, transfers.last_gain, strict=True)))
            radio.ended.foretell(
                zip(
                    [round] * count,
                    [kind] * count,
                    [sender.number] * count,
                    numbers,
                    sizes_bits,
                    map(sub, sizes_bits, transfers.left_bits),
                    [start_s] * count,
                    transfers.end_s,
                    transfers.airtime_s,
                    transfers.energy_j,
                    transfers.gain,
                    map(power_to_db, transfers.snr),
                    outcomes,
                    [0.0] * count,
                    strict=True,
                )
            )
            done = env.event()
            succeed_at(done, max(transfers.end_s), priority=LAST)  # after whoever waits for the last message
            yield done
            radio.ended.look()
        if answers is not None:
            answers.update(dict.fromkeys(silent, True))
            answers.update(zip(numbers, arrive, strict=True))
        return ["delivered"] * len(silent) + outcomes
