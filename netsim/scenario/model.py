"""A scenario: everything that a run depends on, in frozen models that refuse what they do not know.

Units are in the names of keys; descriptions are what ``docs/scenario.md`` prints.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from netsim.core.names import file_name
from netsim.core.options import MOST_AT_ONCE, Options
from netsim.scenario.profiles import PROFILES, with_profile
from netsim.world.devices.processor import FREQUENCIES, GOVERNOR, Governor, Processor
from netsim.world.radio.units import LARGEST_DB

Decibels = Annotated[float, Field(ge=-LARGEST_DB, le=LARGEST_DB)]
NoiseFigure = Annotated[float, Field(ge=0, le=LARGEST_DB)]


PROFILE = (
    "a real board whose measured processor and powers are taken where nothing else is said: "
    f"{', '.join(PROFILES)}; null: none"
)


class Component(BaseModel):
    """Something found by name, with options of its own, which its class or entry checks."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(description="a registered name, or package.module:Class")

    @property
    def given(self) -> dict[str, Any]:
        """Return the options besides the name."""
        return dict(self.__pydantic_extra__ or {})


def _named(value: Any) -> Any:
    """Read ``path_loss: free_space`` as ``path_loss: {name: free_space}``."""
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[Component, BeforeValidator(_named)]


def _component(name: str) -> Component:
    return Component(name=name)


def _battery(value: Any) -> Any:
    """Read ``battery: {capacity_j: 5}`` as one of the default kind."""
    return {"name": "linear", **value} if isinstance(value, dict) else _named(value)


class ProcessorChange(Options):
    """Changes of the processor, in a class of devices or an entry of ``devices.overrides``."""

    frequency_hz: float | None = Field(None, gt=0, description="clock frequency f [Hz]")
    flops_per_cycle: float | None = Field(None, gt=0, description="FLOPs per cycle e")
    effective_capacitance_f: float | None = Field(None, ge=0, description="effective capacitance ε [F]")
    static_power_w: float | None = Field(
        None, ge=0, description="power drawn while computing at any frequency [W]"
    )
    frequencies_hz: tuple[float, ...] | None = Field(None, min_length=1, description=FREQUENCIES)
    governor: Governor | None = Field(None, description=GOVERNOR)
    compute_deadline_s: float | None = Field(
        None, gt=0, description="time in which a round's computation is to be done [s], for just_in_time"
    )


class Difference(Options):
    """Differences of some devices; what is not said stays as it was."""

    _filled = model_validator(mode="before")(with_profile)

    profile: str | None = Field(None, description=PROFILE)
    devices: tuple[int, ...] | None = Field(None, min_length=1, description="numbers of the devices, from 0")
    processor: ProcessorChange = Field(ProcessorChange(), description="changes of the processor")
    battery: Annotated[Component, BeforeValidator(_battery)] | None = Field(
        None, description="another battery"
    )
    harvest: Named | None = Field(None, description="what charges the battery instead")
    tx_power_w: float | None = Field(None, gt=0, description="transmit power p [W]")
    rx_power_w: float | None = Field(None, ge=0, description="power while receiving [W]")
    idle_power_w: float | None = Field(None, ge=0, description="power while idle [W]")
    sleep_power_w: float | None = Field(
        None, ge=0, description="power while idle with nothing to wait for [W]"
    )
    wake_j: float | None = Field(None, ge=0, description="energy of waking from sleep [J]")
    antenna_gain_dbi: Decibels | None = Field(
        None, description="gain of its antenna, sending and receiving [dBi]"
    )


class DeviceChange(Difference):
    """One entry of ``devices.overrides``."""

    devices: tuple[int, ...] = Field(min_length=1, description="numbers of the devices, from 0")


class DeviceClass(Difference):
    """One entry of ``devices.classes``: a kind of device."""

    devices: tuple[int, ...] | None = Field(
        None,
        min_length=1,
        description="numbers of the devices, from 0; null: classes that list none share the devices that no class "
        "lists, in turn",
    )
    memory_bytes: float | None = Field(
        None,
        gt=0,
        description="memory for training [byte]; a device that it is too small for is refused. null: unlimited",
    )
    networks: dict[str, Named] = Field(
        {},
        description="network of each modality by name, with its options, for learners that take one per device",
    )


class Devices(Options):
    """Block ``devices``: who takes part."""

    _filled = model_validator(mode="before")(with_profile)

    count: int = Field(ge=2, le=1_000_000, description="number of devices K")
    profile: str | None = Field(None, description=PROFILE)
    processor: Processor = Field(Processor(), description="every device's processor")
    battery: Named = Field(_component("linear"), description="every device's battery")
    harvest: Named = Field(_component("none"), description="what charges every device's battery")
    tx_power_w: float = Field(0.1, gt=0, description="transmit power p [W]")
    rx_power_w: float = Field(0.0, ge=0, description="power while receiving [W]")
    idle_power_w: float = Field(
        0.0, ge=0, description="power while neither computing, sending nor receiving [W]"
    )
    antenna_gain_dbi: Decibels = Field(
        0.0, description="gain of a device's antenna, sending and receiving [dBi]"
    )
    noise_figure_db: NoiseFigure = Field(
        0.0, description="what a device's receiver adds to the noise density [dB]"
    )
    sleep_power_w: float | None = Field(
        None,
        ge=0,
        description="the same while a device waits for nothing: it is not chosen, or done before the round's end or "
        "the run's [W]; null: as idle_power_w",
    )
    wake_j: float = Field(
        0.0,
        ge=0,
        description="energy of waking from that, of oscillator and radio [J]; it is counted as idling",
    )
    churn: Named = Field(_component("none"), description="who is away, and when")
    stragglers: Named = Field(_component("none"), description="who is slow, and by how much")
    classes: dict[Annotated[str, Field(min_length=1)], DeviceClass] = Field(
        {}, description="kinds of devices by name: what each changes"
    )
    overrides: tuple[DeviceChange, ...] = Field((), description="devices that differ, also from their class")


class TopologyOptions(Options):
    """Block ``topology``: where the devices are and who hears whom."""

    placement: Named = Field(_component("disc"), description="where the devices are")
    links: Named = Field(_component("range"), description="which devices hear each other")
    require_connected: bool = Field(
        True, description="draw placements until the graph and each modality's sub-graph are connected"
    )


class RadioOptions(Options):
    """Block ``radio``: what the air does."""

    bandwidth_hz: float = Field(5e5, gt=0, description="bandwidth B of a band [Hz]")
    noise_dbm_per_hz: Decibels = Field(-140.0, description="noise density N0 [dBm/Hz]")
    carrier_hz: float = Field(2.6e9, gt=0, description="carrier frequency [Hz]")
    outage_snr_db: Decibels | None = Field(
        None, description="below this SNR nothing gets through [dB]; null: a link is never in outage"
    )
    acknowledgement_bits: float = Field(
        0.0,
        ge=0,
        description="size of the answer to a model or an upload that arrived [bit], which its receiver sends back over "
        "the link; 0: senders know at once, and it costs nothing",
    )
    path_loss: Named = Field(_component("free_space"), description="loss without fading")
    channel: Named = Field(_component("rayleigh"), description="small-scale fading")
    rate: Named = Field(_component("shannon"), description="rate of a transfer, and what is lost on the way")
    access: Named = Field(_component("dedicated"), description="how bandwidth is divided among transfers")
    half_duplex: bool = Field(
        False,
        description="whether a device that sends cannot receive at the same time, so that transfers wait; an edge "
        "server's uplink and downlink have radios of their own",
    )


class UplinkOptions(Options):
    """Block ``server.uplink``: from the devices to the server, at each device's own transmit power."""

    bandwidth_hz: float = Field(1e7, gt=0, description="bandwidth of the whole uplink [Hz]")
    division: Literal["redivided", "equal"] = Field(
        "redivided",
        description="how FDM divides it: anew among running uploads whenever one starts or ends, or into one equal "
        "part for each participant of the round",
    )
    access: Named | None = Field(
        None, description="how bandwidth is divided among uploads instead; null: by FDM, as `division` says"
    )
    path_loss: Named = Field(_component("free_space"), description="loss without fading")


class DownlinkOptions(Options):
    """Block ``server.downlink``: from the server to the devices."""

    bandwidth_hz: float = Field(1e7, gt=0, description="bandwidth of the whole downlink [Hz]")
    mode: Literal["broadcast", "unicast"] = Field(
        "broadcast",
        description="one transmission to all at the rate of the worst link, or one to each, which share band and power",
    )
    access: Named | None = Field(
        None,
        description="how bandwidth is divided among downloads with mode `unicast`; null: equally, and power too",
    )

    @model_validator(mode="after")
    def _access_is_for_unicast(self) -> Self:
        if self.access is not None and self.mode == "broadcast":
            raise ValueError(
                "access: a broadcast is one transmission, which shares with nobody; use mode: unicast"
            )
        return self

    path_loss: Named = Field(_component("free_space"), description="loss without fading")


class ServerOptions(Options):
    """Block ``server``: the edge server of protocols that have one; its power is unlimited."""

    position_m: tuple[float, float] = Field((0.0, 0.0), description="where it is [m]")
    processor: Processor = Field(
        Processor(frequency_hz=3e9, flops_per_cycle=32.0), description="its processor"
    )
    tx_power_w: float = Field(1.0, gt=0, description="transmit power of the downlink [W]")
    rx_power_w: float = Field(0.0, ge=0, description="power while receiving [W]")
    idle_power_w: float = Field(
        0.0, ge=0, description="power while neither computing, sending nor receiving [W]"
    )
    antenna_gain_dbi: Decibels = Field(0.0, description="gain of its antenna, sending and receiving [dBi]")
    noise_figure_db: NoiseFigure = Field(0.0, description="what its receiver adds to the noise density [dB]")
    selection: Named = Field(_component("uniform"), description="which devices take part in a round")
    uplink: UplinkOptions = Field(UplinkOptions(), description="from the devices to the server")
    downlink: DownlinkOptions = Field(DownlinkOptions(), description="from the server to the devices")


class StatedCosts(Options):
    """Block ``costs.stated``: costs that a paper states, instead of those counted from the networks."""

    flops_per_iteration: dict[str, float] = Field(
        description="FLOPs of one iteration of a modality's extractor and specific classifier, O^m"
    )
    common_flops: float = Field(0.0, ge=0, description="FLOPs of one iteration of the common classifier, Ô")
    generator_forward_flops: float = Field(
        0.0, ge=0, description="FLOPs of the generator's forward pass, O_F^G"
    )
    generator_flops: float = Field(0.0, ge=0, description="FLOPs of a generator iteration, O^G")
    bits: dict[str, float] = Field(description="bits of a modality's parameters, Υ^m [bit]")
    common_bits: float = Field(
        0.0, ge=0, description="bits of common classifier, bias and generator, Υ [bit]"
    )
    iterations: int | None = Field(
        None, gt=0, description="iterations of a round, N_k; null: counted from the data"
    )


def _counted_or_times(value: Any) -> Any:
    """Say in one sentence what is neither, instead of one for each form that the key can have."""
    try:
        fits = value == "counted" or 0 <= float(value) < math.inf
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"must be counted, or a number of forward passes, at least 0 (got {value!r})")
    return value


class Costs(Options):
    """Block ``costs``: what learning costs in FLOPs and bits, counted from the networks unless stated."""

    bits_per_parameter: float = Field(
        32.0, gt=0, description="bits sent per parameter [bit]; the paper's is 8"
    )
    backward_to_forward: Annotated[float | Literal["counted"], BeforeValidator(_counted_or_times)] = Field(
        "counted",
        description="cost of the backward pass: counted from the network, or so many forward passes (the paper's is "
        "1); with stated costs, which are not counted, `counted` is 2",
    )
    flops_per_mac: float = Field(2.0, gt=0, description="FLOPs of one multiply-accumulate; the paper's is 1")
    stated: StatedCosts | None = Field(None, description="costs stated instead of counted")


class Evaluation(Options):
    """Block ``evaluation``: when and on what the models are evaluated."""

    every: int = Field(
        1, ge=1, description="evaluate after every so many rounds; the last round always counts"
    )
    samples: int | None = Field(
        None, gt=0, description="size of a fixed random part of the test set; null: all"
    )
    batch_size: int = Field(256, gt=0, description="samples per forward pass")
    metrics: tuple[Named, ...] = Field(
        (), description="more that is measured of each model, by name: macro_f1, class_accuracy, auc ..."
    )
    own_share: bool = Field(
        False,
        description="judge also by each device's own mix of classes (metric accuracy_own), and sum up how fair it is: "
        "worst tenth of the devices, variance, Jain's index",
    )


def _switch(value: Any) -> Any:
    """Undo that YAML reads on and off as true and false."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class Jobs(Options):
    """Block ``jobs``: what the real training runs on; it changes no simulated second or joule."""

    executor: Named = Field(_component("auto"), description="what runs the training jobs")
    device: str = Field(
        "auto", description="PyTorch device: cpu, cuda, cuda:0 ...; auto: a GPU where there is one"
    )
    threads: int | None = Field(
        None,
        gt=0,
        le=MOST_AT_ONCE,
        description="CPU threads inside operators of PyTorch and of NumPy's BLAS; null: one, or as many as there are, "
        "whichever is faster for each kind of work. Results with several differ by rounding",
    )
    stacking: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = Field(
        "auto",
        description="run jobs of one architecture as one batch; auto: where a short measurement says that it is "
        "faster. Results of stacked jobs differ from those of single ones by rounding",
    )
    max_pending: int | None = Field(
        None,
        ge=0,
        description="jobs that the simulation may run ahead of while workers are busy; null: two for each device, "
        "eight with a forked process",
    )
    memory_gib: float | None = Field(
        None,
        gt=0,
        description="memory that the training may take [GiB]; stacks are split to fit; null: 4/5 of what is free",
    )
    precision: Literal["float32", "tf32", "bf16", "float64"] = Field(
        "float32",
        description="what networks compute in; tf32: rounded products on a GPU; bf16: autocast to bfloat16",
    )

    @property
    def repeats_bytes(self) -> bool:
        """Return whether two runs have the same bytes; else times decide how sums are cut up, and so of rounding."""
        same_stacks = self.stacking == "off" or (self.stacking == "on" and self.memory_gib is not None)
        return self.device == "cpu" and self.threads == 1 and self.executor.name != "auto" and same_stacks


def _all_some_or_none(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value in ("all", "summary") if isinstance(value, str) else whole and value > 0:
        return value
    raise ValueError(f"must be all, summary, or a whole number of rounds, at least 1 (got {value!r})")


def _rounds_auto_or_off(value: Any) -> Any:
    value = _switch(value)
    if value in ("auto", "off") if isinstance(value, str) else isinstance(value, int) and value > 0:
        return value
    raise ValueError(f"must be auto, off, or a whole number of rounds, at least 1 (got {value!r})")


class RecordsOptions(Options):
    """Block ``records``: what is written of a run."""

    transfers: Annotated[int | Literal["all", "summary"], BeforeValidator(_all_some_or_none)] = Field(
        "all",
        description="table `transfers`: all; a number n: those of every n-th round; summary: none, what they come to "
        "is in summary.json",
    )
    positions: int = Field(
        1,
        ge=0,
        description="table `positions`, of devices that move: where all are at the end of every so many rounds; 0: no "
        "table",
    )


class StopOptions(Options):
    """Block ``stop``: targets; the first that is reached ends the run, at the close of that round."""

    metric: str | None = Field(
        None, min_length=1, description="metric of the learner, mean over devices, such as accuracy"
    )
    modality: str = Field("", description="its modality; empty: that of all together")
    at_least: float | None = Field(None, description="value that the metric is to reach or exceed")
    at_most: float | None = Field(
        None, description="value that the metric is to reach or fall below; then lower is better"
    )
    patience: int | None = Field(
        None, ge=1, description="evaluations in a row that have not been better than the best before them"
    )
    joules: float | None = Field(
        None, gt=0, description="energy that devices have spent in closed rounds, mean over devices [J]"
    )
    seconds: float | None = Field(None, gt=0, description="simulated time at which a round closes [s]")

    @model_validator(mode="after")
    def _has_a_target(self) -> StopOptions:
        of_metric = [self.at_least, self.at_most, self.patience]
        if any(one is not None for one in of_metric) != (self.metric is not None):
            raise ValueError(
                "metric: goes with at_least, at_most or patience; give one of these and the metric"
            )
        if self.at_least is not None and self.at_most is not None:
            raise ValueError("at_most: cannot be used with at_least; leave one of them out")
        if self.metric is None and self.joules is None and self.seconds is None:
            raise ValueError("needs a target: metric with at_least, at_most or patience; joules; or seconds")
        return self


class ModelsOptions(Options):
    """Block ``models``: which nodes' models are kept as files, in the run's folder ``models``."""

    keep: Literal["none", "last", "best", "all"] = Field(
        "none",
        description="last: those at the end; best: those of the round with the best mean accuracy; all: those of every "
        "round that `every` says, and the last",
    )
    every: int | None = Field(
        None, ge=1, description="after every so many rounds; null: each round, or with `last` only at the end"
    )


class SnapshotsOptions(Options):
    """Block ``snapshots``: what a run that was killed goes on from (``netsim resume``); it changes no record."""

    every: Annotated[int | Literal["auto", "off"], BeforeValidator(_rounds_auto_or_off)] = Field(
        "auto",
        description="auto: as often as one hundredth of the time allows, and not in the first 10 s; a number n: after "
        "every n-th round; off: never. The last two are kept while the run goes on",
    )
    keep: bool = Field(
        False, description="keep one of a run's end, so that rounds can be added (netsim run RUN --extend N)"
    )


class PolicyOptions(Options):
    """Block ``policies``: who decides what in each round; participants are up to ``server.selection``."""

    tx_power: Named | None = Field(
        None, description="a device's transmit power in each round; null: its tx_power_w"
    )
    iterations: Named | None = Field(
        None, description="a device's most local steps in each round; null: as many as the learner makes"
    )
    cpu_frequency: Named | None = Field(
        None, description="a device's clock frequency in each round; null: what its processor says"
    )
    links: Named | None = Field(
        None, description="links of each round of decentralized_rounds; null: all of them"
    )


class Scenario(Options):
    """A whole scenario file."""

    name: Annotated[str, AfterValidator(lambda text: text and file_name(text))] = Field(
        "", description="what the run folder is called; default: the file's name"
    )
    description: str = Field("", description="what it shows, for readers")
    seed: int = Field(0, ge=0, description="all randomness of the run comes from it")
    rounds: int = Field(ge=1, description="rounds of learning T")
    modules: tuple[Path, ...] = Field(
        (),
        description="folders in which modules of your own are looked for, before the scenario's own",
    )
    devices: Devices = Field(description="who takes part")
    topology: TopologyOptions = Field(
        TopologyOptions(), description="where the devices are and who hears whom"
    )
    mobility: Named = Field(
        _component("static"),
        description="how devices move; where they do, the graph need not be connected, and random_waypoint and trace "
        "say where devices begin",
    )
    radio: RadioOptions = Field(RadioOptions(), description="what the air does")
    protocol: Named = Field(_component("decentralized_rounds"), description="who waits for whom")
    server: ServerOptions = Field(ServerOptions(), description="the edge server, for protocols that have one")
    policies: PolicyOptions = Field(PolicyOptions(), description="who decides what in each round")
    data: Named | None = Field(
        None, description="what is learnt from; a learner that trains nothing needs none"
    )
    partition: Named | None = Field(None, description="which device holds which samples of which modalities")
    learner: Named = Field(description="the algorithm")
    costs: Costs = Field(Costs(), description="what learning costs in FLOPs and bits")
    evaluation: Evaluation = Field(Evaluation(), description="when and on what models are evaluated")
    stop: StopOptions | None = Field(None, description="targets that end the run early; null: none")
    jobs: Jobs = Field(Jobs(), description="what the real training runs on")
    records: RecordsOptions = Field(RecordsOptions(), description="what is written of the run")
    models: ModelsOptions = Field(ModelsOptions(), description="which models are kept as files")
    snapshots: SnapshotsOptions = Field(
        SnapshotsOptions(), description="what a run that was killed goes on from"
    )


COMPONENTS: dict[tuple[str, ...], str] = {
    ("devices", "battery"): "batteries",
    ("devices", "harvest"): "harvests",
    ("devices", "churn"): "churns",
    ("devices", "stragglers"): "stragglers",
    ("topology", "placement"): "placements",
    ("topology", "links"): "links",
    ("mobility",): "mobilities",
    ("radio", "path_loss"): "path_losses",
    ("radio", "channel"): "channels",
    ("radio", "rate"): "rates",
    ("radio", "access"): "accesses",
    ("protocol",): "protocols",
    ("server", "selection"): "selections",
    ("server", "uplink", "path_loss"): "path_losses",
    ("server", "uplink", "access"): "accesses",
    ("server", "downlink", "path_loss"): "path_losses",
    ("server", "downlink", "access"): "accesses",
    ("policies", "tx_power"): "policies",
    ("policies", "iterations"): "policies",
    ("policies", "cpu_frequency"): "policies",
    ("policies", "links"): "policies",
    ("data",): "datasets",
    ("partition",): "partitions",
    ("learner",): "learners",
    ("jobs", "executor"): "executors",
}
"""Where a scenario names components, and of which kind."""

Status = Literal["running", "finished", "interrupted", "failed"]
