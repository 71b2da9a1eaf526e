"""The configuration: which file counts, what it says, and every way in which it can be wrong."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from wlmctl.broker.contract import MESSAGE_LIMIT_BYTES
from wlmctl.config import Config, Setting, Tls, load_config
from wlmctl.errors import ConfigError, ExitCode, InvalidFile, NoSuch, UsageError
from wlmctl.machine import Reference


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "deep"
    folder.mkdir(parents=True)
    return folder


def load(home: Path, work: Path, *, environ: dict[str, str] | None = None, **flags: str | None) -> Config:
    return load_config(environ={"HOME": str(home), **(environ or {})}, cwd=work, **flags)


def mistakes(home: Path, work: Path, text: str) -> list[str]:
    (work / "wlmctl.toml").write_text(text)
    with pytest.raises(InvalidFile) as caught:
        load(home, work)
    assert caught.value.exit_code == ExitCode.USAGE
    return [str(mistake).removeprefix(f"{work}/") for mistake in caught.value.mistakes]


def test_without_any_file_the_store_is_in_the_state_folder_and_local_is_the_only_machine(
    home: Path, work: Path
) -> None:
    config = load(home, work)
    assert config.store == f"sqlite:///{home}/.local/state/wlmctl/wlmctl.db"
    assert (config.broker, config.scheduler, config.prefix) == ("memory://", "fifo", "wlm")
    assert list(config.machines) == ["local"]
    assert config.machines["local"].transport == "local"
    assert config.origins["store"].origin == "default"


def test_the_state_folder_follows_xdg_state_home_when_it_is_absolute(home: Path, work: Path) -> None:
    assert load(home, work, environ={"XDG_STATE_HOME": "/var/x"}).store == "sqlite:////var/x/wlmctl/wlmctl.db"
    assert str(home) in load(home, work, environ={"XDG_STATE_HOME": "x"}).store


def test_the_nearest_file_wins_over_the_users_key_by_key_and_machine_by_machine(home: Path, work: Path) -> None:
    users = home / ".config" / "wlmctl" / "wlmctl.toml"
    users.parent.mkdir(parents=True)
    users.write_text(
        'prefix = "mine"\nscheduler = "users"\n[machines.a]\nhost = "a.example"\nmax_jobs = 3\n'
        '[machines.a.batch_options]\naccount = "p1"\nqueue = "x"\n[machines.b]\nhost = "b.example"\n'
    )
    (work.parent / "wlmctl.toml").write_text(
        'scheduler = "near"\n[machines.a]\nhost = "near.example"\n[machines.a.batch_options]\naccount = "p2"\n'
    )
    config = load(home, work)
    assert (config.prefix, config.scheduler) == ("mine", "near")
    assert (config.machines["a"].host, config.machines["a"].max_jobs) == ("near.example", 3)
    assert config.machines["a"].batch_options == {"account": "p2", "queue": "x"}
    assert set(config.machines) == {"local", "a", "b"}
    assert config.origins["machines.a.host"].origin == f"{work.parent / 'wlmctl.toml'}:3"
    assert config.origins["machines.b.host"].origin == f"{users}:10"


def test_a_named_file_is_the_only_one_that_is_read_and_the_flag_beats_the_variable(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text('prefix = "near"\nscheduler = "near"\n')
    (work / "other.toml").write_text('prefix = "other"\n')
    (work / "third.toml").write_text('prefix = "third"\n')
    config = load(home, work, environ={"WLMCTL_CONFIG": "other.toml"})
    assert (config.prefix, config.scheduler) == ("other", "fifo")
    config = load(home, work, environ={"WLMCTL_CONFIG": "other.toml"}, flag_file=str(work / "third.toml"))
    assert config.prefix == "third"


def test_a_variable_beats_the_file_and_a_flag_beats_both(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text('store = "sqlite:///file.db"\nscheduler = "file"\n')
    assert load(home, work).store == f"sqlite:///{work}/file.db"
    config = load(home, work, environ={"WLMCTL_STORE": "sqlite:///variable.db", "WLMCTL_SCHEDULER": "v"})
    assert (config.store, config.scheduler) == (f"sqlite:///{work}/variable.db", "v")
    assert config.origins["store"].origin == "WLMCTL_STORE"
    config = load(home, work, environ={"WLMCTL_STORE": "sqlite:///variable.db"}, store="sqlite:////x/flag.db")
    assert config.store == "sqlite:////x/flag.db"
    assert config.origins["store"].origin == "--store"


def test_relative_paths_are_relative_to_the_file_that_holds_them(home: Path, work: Path) -> None:
    (work.parent / "wlmctl.toml").write_text(
        'store = "sqlite:///x/wlm.db"\n[machines.local]\nscratch = "scratch"\n'
        '[machines.a]\nhost = "a"\nkey = "keys/id"\npassphrase = {file = "keys/pass"}\n'
    )
    config = load(home, work)
    assert config.store == f"sqlite:///{work.parent}/x/wlm.db"
    assert config.machines["local"].scratch == f"{work.parent}/scratch"
    assert config.machines["a"].key == f"{work.parent}/keys/id"
    assert config.machines["a"].passphrase == Reference("file", f"{work.parent}/keys/pass")


def test_every_setting_of_a_machine_is_read(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text(
        '[machines.cluster]\nhost = "login.cluster.example"\nuser = "me"\nport = 2222\njump = "gate"\n'
        'passphrase = {env = "PASS"}\ntransport = "scp"\nbatch = "slurm"\nscratch = "$SCRATCH/wlm"\nshell = "bash -l"\n'
        'preamble = "module load gcc/13"\nlabels = ["gpu", "site=a"]\ncpus = 64\nmemory = "256GiB"\ngpus = 2\n'
        'max_connections = 5\nbandwidth = "50MiB"\ncommands_per_minute = 60\nmax_jobs = 200\n'
        '[machines.cluster.batch_options]\naccount = "p1"\n[machines.cluster.transport_options]\ntimeout_s = 5\n'
    )
    machine = load(home, work).machine("cluster")
    assert (machine.host, machine.user, machine.port, machine.jump) == ("login.cluster.example", "me", 2222, "gate")
    assert machine.passphrase == Reference("env", "PASS")
    assert (machine.transport, machine.batch, machine.scratch) == ("scp", "slurm", "$SCRATCH/wlm")
    assert (machine.shell, machine.preamble) == ("bash -l", "module load gcc/13")
    assert (machine.labels, machine.cpus, machine.memory_bytes, machine.gpus) == (("gpu", "site=a"), 64, 256 << 30, 2)
    assert machine.bandwidth_bytes_s == 50 * 1024 * 1024
    assert (machine.max_connections, machine.commands_per_minute, machine.max_jobs) == (5, 60, 200)
    assert machine.batch_options == {"account": "p1"}
    assert machine.transport_options == {"timeout_s": 5}


def test_all_mistakes_of_a_file_are_told_at_once_each_with_its_line(home: Path, work: Path) -> None:
    found = mistakes(
        home,
        work,
        'sheduler = "fifo"\n\nprefix = 3\n# a comment\n[machines.a]\nhost = "a"\nlabels = [\n  "x",\n  2,\n]\n'
        'memory = "lots"\n[machines.b]\nhost = "-oProxyCommand=x"\nport = 99999\nhots = "b"\n',
    )
    assert [line.split(" ")[0] for line in found] == [
        "wlmctl.toml:1:",
        "wlmctl.toml:3:",
        "wlmctl.toml:7:",
        "wlmctl.toml:11:",
        "wlmctl.toml:13:",
        "wlmctl.toml:14:",
        "wlmctl.toml:15:",
    ]
    assert found[0] == "wlmctl.toml:1: sheduler: an unknown key (did you mean 'scheduler'?)"
    assert "machines.a.memory: 'lots', expected a size such as 512MiB" in found[3]
    assert "did you mean 'host'?" in found[6]


@pytest.mark.parametrize(
    "text",
    [
        'keep = "30d"',
    ],
)
def test_what_later_work_brings_is_refused_as_not_yet(home: Path, work: Path, text: str) -> None:
    (found,) = mistakes(home, work, text)
    assert "not yet" in found


def test_a_fleets_settings_are_read_with_their_units(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text(
        'broker = "amqps://me@a.example:5671,b.example/lab"\nheartbeat = "500ms"\nlease = "20s"\nack_timeout = "10m"\n'
        'permit_grace = 5\nmessage_limit = "1MiB"\nqueue_type = "quorum"\nbroker_password = {file = "pw"}\n'
        '[tls]\nca = "ca.pem"\ncert = "/etc/c.pem"\nkey = "k.pem"\n'
    )
    config = load(home, work)
    assert config.broker == "amqps://me@a.example:5671,b.example/lab"
    assert config.is_fleet
    assert (config.heartbeat_s, config.lease_s, config.ack_timeout_s, config.permit_grace_s) == (0.5, 20, 600, 5)
    assert (config.message_limit_bytes, config.queue_type) == (2**20, "quorum")
    assert config.tls == Tls(str(work / "ca.pem"), "/etc/c.pem", str(work / "k.pem"))
    assert config.broker_login == Reference("file", str(work / "pw"))
    assert config.origins["tls.ca"] == Setting(str(work / "ca.pem"), f"{work}/wlmctl.toml:10")
    assert config.origins["lease"].value == 20


def test_without_settings_a_fleet_has_the_documented_ones(home: Path, work: Path) -> None:
    config = load(home, work)
    assert (config.heartbeat_s, config.lease_s, config.ack_timeout_s, config.permit_grace_s) == (1, 30, 1800, 30)
    assert config.message_limit_bytes == MESSAGE_LIMIT_BYTES
    assert (config.queue_type, config.tls, config.is_fleet) == ("auto", Tls(), False)
    assert config.origins["ack_timeout"] == Setting(1800.0, "default")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('broker = "amqp:/h"', "1: broker: 'amqp:/h', expected a broker such as memory:// or amqps://"),
        ('broker = "amqp://u@h/v/w"', "1: broker: 'amqp://u@h/v/w', expected a broker"),
        ('broker = "amqp://u@"', "1: broker: 'amqp://u@', expected a broker"),
        ('broker = "amqp://u@h:x/"', "1: broker: 'amqp://u@h:x/', expected a broker"),
        ('broker = "amqp://u@h:99999,i/v"', "1: broker: 'amqp://u@h:99999,i/v', expected a broker"),
        ('broker = "redis://h/"', "1: broker: 'redis://h/', expected a broker"),
        ('heartbeat = "2h"', "1: heartbeat: '2h', expected a duration from 100ms to 1m"),
        ("message_limit = 10", "1: message_limit: 10, expected a size from 64KiB to 512MiB"),
        ('queue_type = "stream"', "1: queue_type: 'stream', expected 'auto', 'classic' or 'quorum'"),
        ("tls = true", "1: tls: True, expected a table [tls]"),
        ('[tls]\ncart = "x"', "2: tls.cart: an unknown key (did you mean 'cert'?)"),
    ],
)
def test_a_wrong_setting_of_a_fleet_is_one_line(home: Path, work: Path, text: str, said: str) -> None:
    (found,) = mistakes(home, work, text)
    assert found.startswith(f"wlmctl.toml:{said}")


def test_a_lease_that_no_heartbeat_can_keep_is_refused(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text("heartbeat = 15\n")
    with pytest.raises(ConfigError, match=r"wlmctl.toml:1: lease 30 s, heartbeat 15 s, expected .* three heartbeats"):
        load(home, work)


def test_a_tls_key_without_its_certificate_is_refused(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text('[tls]\nkey = "k.pem"\n')
    with pytest.raises(ConfigError, match=r"wlmctl.toml:2: tls.key: a key without a certificate"):
        load(home, work)


def test_a_brokers_password_in_a_variable_counts_and_is_never_shown(
    home: Path, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(home, work, environ={"WLMCTL_BROKER": "amqp://me:hunt%2Fer2@host:5672/lab"})
    assert config.broker == "amqp://me@host:5672/lab"
    assert config.broker_login == "hunt/er2"
    assert "hunt" not in repr(config)
    assert not caplog.text


def test_a_password_in_a_files_url_is_warned_about_and_never_shown(
    home: Path, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (work / "wlmctl.toml").write_text('broker = "amqp://me:hunter2@host/"\n')
        config = load(home, work)
        found = mistakes(home, work, 'broker = "amqp://me:hunter2@host/a/b"\n')
    assert "wlmctl.toml:1: broker: a password in the URL" in caplog.text
    assert "hunter2" not in caplog.text + "".join(found) + repr(config)
    assert config.broker_login == "hunter2"


def test_a_secret_that_stands_in_the_file_itself_is_refused_and_not_shown(home: Path, work: Path) -> None:
    (found,) = mistakes(home, work, '[machines.a]\nhost = "a"\npassphrase = "hunter2"\n')
    assert '{env = "NAME"}' in found
    assert "hunter2" not in found


def test_local_may_set_all_but_the_login(home: Path, work: Path) -> None:
    found = mistakes(home, work, '[machines.local]\ncpus = 2\nhost = "x"\nuser = "y"\n')
    assert [line.split(":")[1] for line in found] == ["3", "4"]
    (work / "wlmctl.toml").write_text('[machines.local]\ncpus = 2\ngpus = 0\nmemory = "1GB"\nmax_jobs = 3\n')
    local = load(home, work).machines["local"]
    assert (local.cpus, local.gpus, local.memory_bytes, local.max_jobs, local.transport) == (2, 0, 10**9, 3, "local")


def test_a_machine_without_a_host_is_refused(home: Path, work: Path) -> None:
    (found,) = mistakes(home, work, "\n[machines.a]\ncpus = 2\n")
    assert found.startswith("wlmctl.toml:2: machines.a: no host, expected host =")
    (found,) = mistakes(home, work, '[machines.a]\ntransport = "openssh"\n')
    assert "no host" in found


STORE = '[machines.store]\ntransport = "fsspec"\n[machines.store.transport_options]\nurl = "s3://bucket"\n'


def test_a_machine_that_is_no_host_needs_none_and_is_not_this_one(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text(STORE)
    store = load(home, work).machines["store"]
    assert (store.host, store.is_local) == (None, False)


def test_secrets_among_the_options_of_a_transport_are_references(home: Path, work: Path) -> None:
    login = 'storage_options = {key = "id", secret = {env = "S3_SECRET"}, client = {token = {file = "keys/token"}}}\n'
    (work / "wlmctl.toml").write_text(STORE + login)
    config = load(home, work)
    assert config.machines["store"].transport_options["storage_options"] == {
        "key": "id",
        "secret": {"env": "S3_SECRET"},
        "client": {"token": {"file": f"{work}/keys/token"}},
    }
    assert config.secrets == [Reference("env", "S3_SECRET"), Reference("file", f"{work}/keys/token")]


@pytest.mark.parametrize(
    "options",
    [
        'storage_options = {key = "id", secret = "hunter2"}',
        'storage_options = {headers = {Authorization = "Bearer hunter2"}}',
        'proxy = "http://me:hunter2@proxy/"',
    ],
)
def test_a_secret_among_the_options_of_a_transport_is_refused_and_not_shown(
    home: Path, work: Path, options: str
) -> None:
    (found,) = mistakes(home, work, STORE + options + "\n")
    assert "expected for " in found
    assert "it is a secret" in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"store = \n", "wlmctl.toml: this is no TOML: Invalid value (at line 1"),
        (b"a = 1\na = 2\n", "at line 2"),
        (b"a = '\xff'\n", "wlmctl.toml:1: this is not UTF-8"),
        (b"a = " + b"[" * 100_000, "this is no TOML"),
        (b"#" * 1_100_000, "larger than 1 MiB"),
    ],
)
def test_a_broken_file_is_one_line(home: Path, work: Path, content: bytes, expected: str) -> None:
    (work / "wlmctl.toml").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(home, work)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_before_the_settings_is_no_mistake(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_bytes(b'\xef\xbb\xbfscheduler = "own"\n')
    assert load(home, work).scheduler == "own"


def test_a_fifo_that_is_found_is_refused_and_one_that_is_named_is_read(home: Path, work: Path) -> None:
    os.mkfifo(work / "wlmctl.toml")
    with pytest.raises(ConfigError, match=r"wlmctl\.toml: this is a FIFO, a socket or a device, expected a TOML file"):
        load(home, work)
    assert load(home, work, flag_file="/dev/null").scheduler == "fifo"


def test_a_folder_and_a_missing_file_are_one_line(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").mkdir()
    with pytest.raises(ConfigError, match="this is a folder"):
        load(home, work)
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load(home, work, flag_file="nowhere.toml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_one_line(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").touch(mode=0)
    with pytest.raises(ConfigError, match="Permission denied"):
        load(home, work)


@pytest.mark.parametrize("url", ["", "x.db", "mysql://h/d", "sqlite://x.db", "sqlite:///", "sqlite:///:memory:"])
def test_a_wrong_store_url_says_what_is_expected_and_who_said_it(home: Path, work: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"--store: .* expected a store such as sqlite:///wlmctl\.db"):
        load(home, work, store=url)


def test_an_unknown_machine_is_named_with_what_there_is(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text('[machines.cluster]\nhost = "x"\n')
    with pytest.raises(NoSuch, match=r"no machine 'clutser' \(did you mean 'cluster'\?\)"):
        load(home, work).machine("clutser")


def test_an_unknown_table_within_which_there_are_others_is_told_with_the_line_of_the_first(
    home: Path, work: Path
) -> None:
    found = mistakes(home, work, 'prefix = "x"\n[machine.a]\nhost = "a"\n[machine.b]\nhost = "b"\n')
    assert found == ["wlmctl.toml:2: machine: an unknown key (did you mean 'machines'?)"]


def test_lines_are_found_behind_texts_of_several_lines_and_in_dotted_keys(home: Path, work: Path) -> None:
    found = mistakes(
        home,
        work,
        '[machines.a]\nhost = \'a\'\npreamble = """\nwrong = 1\n[x]\n"""\nwrong = 1\n'
        '[machines."b"]\nhost = "#["\nbatch_options.a = 1\nshel = "x"\n',
    )
    assert [line.split(":")[1] for line in found] == ["7", "11"]


@pytest.mark.parametrize(
    ("given", "url", "secret"),
    [
        ("postgresql://me@h/db", "postgresql://me@h/db", None),
        ("postgres://me@h:5433/db", "postgresql://me@h:5433/db", None),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", None),
        ("postgresql://a,b:5433/db?sslmode=require", "postgresql://a,b:5433/db?sslmode=require", None),
        ("postgresql://me:p%40ss@h/db", "postgresql://me@h/db", "p@ss"),
        ("postgresql://me:a/b@c@h/db", "postgresql://me@h/db", "a/b@c"),
        ("postgresql://h/db?user=me&password=s3cret", "postgresql://h/db?user=me", "s3cret"),
        ("postgresql://h/db?password=s3cret", "postgresql://h/db", "s3cret"),
        ("postgresql://h/db?password=s3cret&user=me", "postgresql://h/db?user=me", "s3cret"),
    ],
)
def test_a_postgresql_url_is_taken_and_its_password_kept_apart(
    home: Path, work: Path, given: str, url: str, secret: str | None
) -> None:
    config = load(home, work, environ={"WLMCTL_STORE": given})
    assert (config.store, config.store_login) == (url, secret)
    assert config.origins["store"].value == url
    assert secret is None or secret not in repr(config)


@pytest.mark.parametrize("url", ["postgresql://h", "postgresql://h/", "postgresql://h/a/b", "postgresql://h/a b"])
def test_a_postgresql_url_without_a_database_says_what_is_expected(home: Path, work: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"WLMCTL_STORE: .* expected a database in the URL"):
        load(home, work, environ={"WLMCTL_STORE": url})


def test_the_password_of_a_url_counts_before_the_reference(home: Path, work: Path) -> None:
    (work / "wlmctl.toml").write_text('store = "postgresql://me@h/db"\nstore_password = {env = "X"}\n')
    assert load(home, work).store_login == Reference("env", "X")
    assert load(home, work, environ={"WLMCTL_STORE": "postgresql://me:pw@h/db"}).store_login == "pw"


def test_a_password_in_an_option_is_warned_about(home: Path, work: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(home, work, store="postgresql://me:hidden@h/db").store_login == "hidden"
    assert "--store: store: a password in the URL" in caplog.text
    assert "hidden" not in caplog.text
    caplog.clear()
    load(home, work, environ={"WLMCTL_STORE": "postgresql://me:hidden@h/db"})
    assert caplog.text == ""


def test_counters_are_read_name_by_name(home: Path, work: Path) -> None:
    (home / ".config/wlmctl").mkdir(parents=True)
    (home / ".config/wlmctl/wlmctl.toml").write_text("[counters]\nmatlab = 4\nansys = 1\n")
    (work / "wlmctl.toml").write_text("[counters]\nmatlab = 2\n")
    assert load(home, work).counters == {"matlab": 2, "ansys": 1}


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("counters = 4", "1: counters: 4, expected a table [counters] with NAME = AMOUNT"),
        ("[counters]\nmatlab = -1", "2: counters.matlab: -1, expected an integer of at least 0"),
        ("[counters]\nmatlab = true", "2: counters.matlab: True, expected an integer of at least 0"),
        ('[counters]\n"mat lab" = 1', "2: counters.mat lab: a wrong name, expected a name: letters, digits, _ and -"),
        ("decision_limit = '1ms'", "1: decision_limit: '1ms', expected a duration from 100ms to 20s"),
    ],
)
def test_a_wrong_counter_or_limit_is_named_with_its_line(home: Path, work: Path, text: str, mistake: str) -> None:
    (found,) = mistakes(home, work, text)
    assert f"wlmctl.toml:{mistake}" in found
