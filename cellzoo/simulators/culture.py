"""Cells of a simulated culture, which grow, divide, move and push each other."""

from dataclasses import dataclass

import numpy as np

from cellzoo.simulators.scene import Modality

MODES = np.arange(2, 8)  # Fourier modes of a contour; mode 0 is size, mode 1 a mere shift
ORGANELLES = 14
VESICLES = 3
BLEBS = 3


@dataclass
class _Cell:
    """One cell of a culture; lengths in px, times in hours, angles in rad."""

    position: np.ndarray
    birth_radius: float
    cycle: float  # from birth to division
    age: float
    depth: float  # distance from the plane of focus, micrometres
    phase: float  # largest phase shift, rad
    contour: np.ndarray  # complex, one coefficient per mode, relative to the radius
    blebs: np.ndarray  # [BLEBS, 3] angle, height, width; height relative to the radius
    organelles: np.ndarray  # [ORGANELLES, 4] x, y, sd (relative to the radius), phase (to own)
    vesicles: np.ndarray  # [VESICLES, 4] likewise, just outside the contour
    sibling: int = -1
    name: int = 0
    axis: float = 0.0  # along which it will divide

    @property
    def progress(self) -> float:
        """Share of the cell cycle passed, 0 to 1."""
        return min(self.age / self.cycle, 1.0)

    @property
    def radius(self) -> float:
        """The volume doubles from birth to division."""
        return self.birth_radius * (1 + self.progress) ** (1 / 3)


@dataclass
class Looks:
    """The cells of one frame, stacked for rendering; first axis: cell."""

    positions: np.ndarray
    radii: np.ndarray
    depths: np.ndarray
    phases: np.ndarray
    contours: np.ndarray
    blebs: np.ndarray
    blobs: np.ndarray  # organelles and vesicles
    membranes: np.ndarray


class Culture:
    """Cells that grow, divide, move and push each other in the inner area of a chamber."""

    def __init__(
        self,
        kind: Modality,
        rng: np.random.Generator,
        doubling_hours: float,
        max_count: int,
        min_count: int,
    ) -> None:
        self.kind, self.rng = kind, rng
        self.doubling_hours, self.max_count, self.min_count = doubling_hours, max_count, min_count
        self.named = 0
        self.cells: list[_Cell] = []
        left, top, right, bottom = kind.inner
        start = rng.choice(4, p=[0.25, 0.35, 0.25, 0.15]) + 1
        if min_count == 0 and rng.random() < 0.2:
            start = 0
        middle = rng.uniform((left + 12, top + 12), (right - 12, bottom - 12))
        for _ in range(min(start, max_count)):
            # Of a growing culture more cells are young than old: log-uniform, not uniform.
            progress = np.log2(1 + rng.random())
            cell = self._founder(middle + rng.normal(0, 18, 2), progress)
            self.cells.append(cell)
        self.flow = rng.normal(0, 0.5, 2)  # px per hour, from the perfusion of the chamber
        for _ in range(20):
            self._part()

    def _founder(self, position: np.ndarray, progress: float) -> _Cell:
        rng, kind = self.rng, self.kind
        self.named += 1
        cycle = self._cycle()
        far = rng.random() < 0.12
        return _Cell(
            position=np.asarray(position, float),
            birth_radius=float(np.clip(rng.normal(*kind.birth_radius), 4.0, 7.2)),
            cycle=cycle,
            age=progress * cycle,
            depth=rng.normal(*kind.focus) + far * rng.choice([-1, 1]) * rng.uniform(8, 18),
            phase=max(rng.normal(*kind.phase), 0.4 * kind.phase[0]),
            contour=self._ripple(),
            blebs=self._blebs(),
            organelles=self._organelles(),
            vesicles=self._vesicles(),
            name=self.named,
            axis=rng.uniform(0, np.pi),
        )

    def _cycle(self) -> float:
        return self.doubling_hours * float(np.clip(self.rng.normal(1.0, 0.13), 0.6, 1.5))

    def _ripple(self) -> np.ndarray:
        size = self.rng.gamma(2.5, 0.4) * 0.145 / MODES**1.7
        return size * (self.rng.normal(size=(2, len(MODES))) * [[1], [1j]]).sum(0)

    def _blebs(self) -> np.ndarray:
        rng = self.rng
        present = rng.random(BLEBS) < 0.22
        height = present * rng.uniform(0.1, 0.28, BLEBS)
        return np.stack(
            [rng.uniform(0, 2 * np.pi, BLEBS), height, rng.uniform(0.2, 0.38, BLEBS)], -1
        )

    def _organelles(self) -> np.ndarray:
        rng = self.rng
        place = np.sqrt(rng.random(ORGANELLES)) * 0.75
        angle = rng.uniform(0, 2 * np.pi, ORGANELLES)
        spread = rng.uniform(0.07, 0.17, ORGANELLES)
        phase = rng.normal(0.05, 0.2, ORGANELLES)
        # The first two are the nucleus and the nucleolus.
        place[0], spread[0], phase[0] = 0.4 * place[0], rng.uniform(0.3, 0.4), rng.normal(-0.1, 0.1)
        place[1], spread[1], phase[1] = place[0], 0.12, 0.25
        angle[1] = angle[0]
        return np.stack([place * np.cos(angle), place * np.sin(angle), spread, phase], -1)

    def _vesicles(self) -> np.ndarray:
        rng = self.rng
        angle = rng.uniform(0, 2 * np.pi, VESICLES)
        place = rng.uniform(1.1, 1.5, VESICLES)
        phase = (rng.random(VESICLES) < 0.12) * rng.uniform(0.15, 0.5, VESICLES)
        spread = rng.uniform(0.1, 0.18, VESICLES)
        return np.stack([place * np.cos(angle), place * np.sin(angle), spread, phase], -1)

    def step(self, hours: float) -> None:
        """Let the culture live for some hours (the time between two exposures)."""
        rng = self.rng
        for cell in list(self.cells):
            cell.age += hours
            if cell.age >= cell.cycle:
                if len(self.cells) < self.max_count:
                    self._divide(cell)
                else:
                    cell.age = cell.cycle * rng.uniform(0.8, 0.95)  # waits for room
        self._pass_inlet(hours)
        self.flow = self.flow * 0.98 + rng.normal(0, 0.1, 2)
        for cell in self.cells:
            restless = 0.3 if self._wall_distance(cell) < 1.5 else 1.0  # cells stick to walls
            cell.position += restless * (self.flow * hours + rng.normal(0, 3.0, 2) * np.sqrt(hours))
            cell.axis += rng.normal(0, 0.2) * np.sqrt(hours)
            cell.depth += rng.normal(0, 1.0) * np.sqrt(hours) - 0.04 * hours * (
                cell.depth - self.kind.focus[0]
            )
        for _ in range(4):
            self._part()

    def _divide(self, mother: _Cell) -> None:
        rng = self.rng
        along = np.array([np.cos(mother.axis), np.sin(mother.axis)])
        radius = mother.birth_radius + 0.25 * (self.kind.birth_radius[0] - mother.birth_radius)
        share = rng.normal(0, 0.03)
        names = self.named + 1, self.named + 2
        for name, sibling, side in ((*names, 1), (*names[::-1], -1)):
            cell = self._founder(mother.position + side * 0.6 * radius * along, 0.0)
            cell.name, cell.sibling = name, sibling
            cell.birth_radius = float(np.clip(radius * (1 + side * share), 4.0, 7.2))
            cell.depth = mother.depth + rng.normal(0, 1.0)
            cell.phase = 0.7 * mother.phase + 0.3 * cell.phase
            self.cells.append(cell)
        self.named += 2
        self.cells = [cell for cell in self.cells if cell is not mother]

    def _pass_inlet(self, hours: float) -> None:
        """Now and then a cell enters or leaves, equally often, by the upper inlet."""
        left, top, right, _ = self.kind.inner
        rng = self.rng
        rate = hours * (0.0012 * len(self.cells) if self.cells else 0.05)
        if rng.random() < rate and len(self.cells) < self.max_count:
            mouth = np.array([(left + right) / 2 + rng.normal(0, 4), top])
            self.cells.append(self._founder(mouth, rng.random()))
        elif rng.random() < rate and len(self.cells) > self.min_count:
            near = min(self.cells, key=lambda cell: cell.position[1])
            if near.position[1] < top + 30:
                self.cells = [cell for cell in self.cells if cell is not near]

    def _wall_distance(self, cell: _Cell) -> float:
        left, top, right, bottom = self.kind.inner
        x, y = cell.position
        return min(x - left, right - x, y - top, bottom - y) - cell.radius

    def _part(self) -> None:
        """Push overlapping cells apart and into the chamber, pull siblings together."""
        if not self.cells:
            return
        position = np.array([cell.position for cell in self.cells])
        radius = np.array([cell.radius for cell in self.cells])
        name = np.array([cell.name for cell in self.cells])
        age = np.array([cell.age for cell in self.cells])
        sibling = np.array([cell.sibling for cell in self.cells])[:, None] == name[None]
        offset = position[:, None] - position[None]
        distance = np.sqrt((offset**2).sum(-1)) + 1e-3
        # A pair parts within about 3 h; other cells may overlap a little, being at other depths.
        wanted = np.where(sibling, 0.62 + 0.32 * np.minimum(age / 3.0, 1.0)[:, None], 0.88)
        wanted = wanted * (radius[:, None] + radius[None])
        gap = wanted - distance
        push = np.where(gap > 0, 0.5 * gap, 0.0)
        loose = (gap < 0) & (gap > -0.35 * wanted)  # neighbours stick, siblings more
        push += np.where(loose, np.where(sibling & (age < 5)[:, None], 0.3, 0.01) * gap, 0.0)
        np.fill_diagonal(push, 0.0)
        position += (push[..., None] * offset / distance[..., None]).sum(1) * 0.8
        left, top, right, bottom = self.kind.inner
        # Cells press against the wall and cover its line a little.
        reach = 0.85 * radius[:, None]
        position = np.clip(position, (left, top) + reach, (right, bottom) - reach)
        for cell, place in zip(self.cells, position, strict=True):
            cell.position = place

    def reshape(self, hours: float) -> None:
        """Let contours ripple, blebs come and go and organelles turn, over some hours."""
        rng = self.rng
        keep = np.exp(-hours / 3.0)
        for cell in self.cells:
            cell.contour = keep * cell.contour + np.sqrt(1 - keep**2) * self._ripple()
            if rng.random() > keep:
                cell.blebs, cell.vesicles = self._blebs(), self._vesicles()
            turn = rng.normal(0, 0.6) * np.sqrt(hours)
            cos, sin = np.cos(turn), np.sin(turn)
            cell.organelles[:, :2] = cell.organelles[:, :2] @ np.array([[cos, sin], [-sin, cos]])

    def looks(self) -> Looks:
        """Return what is to be seen of each cell now."""
        contours, phases, membranes = [], [], []
        typical = self.kind.birth_radius[0] * 1.15
        for cell in self.cells:
            left_hours = cell.cycle - cell.age
            mitotic = left_hours < 1.2  # rounds up, evens out, then stretches along its axis
            contour = cell.contour * (0.35 if mitotic else 1.0)
            if left_hours < 0.5:
                contour[0] += 0.17 * np.exp(-2j * cell.axis)
            if cell.sibling >= 0 and cell.age < 2.0:
                contour = 0.6 * contour
            contours.append(contour)
            phases.append(cell.phase * (1.1 if mitotic else 1.0) * np.sqrt(cell.radius / typical))
            membranes.append(0.25 if mitotic else 0.15)
        n = len(self.cells)

        def stack(values: list, *shape: int) -> np.ndarray:
            return np.array(values).reshape(n, *shape)

        return Looks(
            positions=stack([c.position for c in self.cells], 2),
            radii=stack([c.radius for c in self.cells]),
            depths=stack([c.depth for c in self.cells]),
            phases=stack(phases),
            contours=stack(contours, len(MODES)),
            blebs=stack([c.blebs for c in self.cells], BLEBS, 3),
            blobs=stack(
                [np.concatenate([c.organelles, c.vesicles]) for c in self.cells],
                ORGANELLES + VESICLES,
                4,
            ),
            membranes=stack(membranes),
        )
