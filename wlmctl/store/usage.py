"""What users and projects have used: cpu-seconds of ended attempts, in buckets of time that weigh less as they age."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.store.database import Database

#: Seconds after which what was used counts half.
HALF_LIFE_S = 24 * 3600.0

#: Seconds that are counted together, and how long they are read: what is older weighs less than a thousandth.
BUCKET_S, READ_S = 6 * 3600.0, 10 * HALF_LIFE_S


def add(db: Database, now_s: float, used: Mapping[tuple[str, str | None], float]) -> None:
    """So many more cpu-seconds, by user and project; inside a transaction."""
    for (user, project), cpu_s in used.items():
        db.execute(
            "INSERT INTO used VALUES (?, ?, ?, ?) ON CONFLICT (bucket, owner, project)"
            " DO UPDATE SET cpu_s = used.cpu_s + excluded.cpu_s",
            (int(now_s // BUCKET_S), user, project or "", cpu_s),
        )


def decayed(db: Database, now_s: float) -> tuple[dict[str, float], dict[str, float]]:
    """Cpu-seconds by user and by project, halved for each half-life that has passed since the middle of a bucket."""
    by_user, by_project = dict[str, float](), dict[str, float]()
    for bucket, user, project, cpu_s in db.rows(
        "SELECT bucket, owner, project, cpu_s FROM used WHERE bucket >= ? ORDER BY bucket, owner, project",
        (int((now_s - READ_S) // BUCKET_S),),
    ):
        age_s = max(0.0, now_s - (bucket + 0.5) * BUCKET_S)
        weighed = cpu_s * 0.5 ** (age_s / HALF_LIFE_S)
        by_user[user] = by_user.get(user, 0.0) + weighed
        if project:
            by_project[project] = by_project.get(project, 0.0) + weighed
    return by_user, by_project
