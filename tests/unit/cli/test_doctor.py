import socket

import pytest

from pond import doctor


def test_an_old_python_is_missing_something():
    assert doctor.look_at_python((3, 10, 4)).state == "missing"
    assert doctor.look_at_python((3, 11, 0)).state == "ok"


def test_another_version_than_the_pinned_one_is_told(tmp_path):
    (tmp_path / "c.txt").write_text(
        "numpy==0.1 \\\n    --hash=sha256:0\nnot-installed-anywhere==1\n"
        "polars==0.1 ; python_version < '3' \\\n    --hash=sha256:0\n"
    )
    found = doctor.look_at_versions(tmp_path / "c.txt")
    assert found.state == "optional"
    assert "instead of 0.1" in found.said
    assert "polars" not in found.said
    assert doctor.look_at_versions(tmp_path / "none").state == "optional"


def test_a_library_that_does_not_load_is_missing():
    assert doctor.look_at_libraries(("json",)).state == "ok"
    assert doctor.look_at_libraries(("no_such_library",)).state == "missing"


def test_the_embedded_server_runs_here():
    assert doctor.look_at_valkey().state == "ok"


def test_a_long_directory_holds_no_socket(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert doctor.look_at_socket_path({}).state == "missing"
    monkeypatch.setattr("tempfile.tempdir", None)
    assert doctor.look_at_socket_path({}).state == "ok"


def test_a_home_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    assert doctor.look_at_home(tmp_path / "file").state == "missing"
    assert doctor.look_at_home(tmp_path / "new" / "home").state == "ok"


def test_a_taken_port_is_told():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert doctor.look_at_port(port, "127.0.0.1").state == "optional"
        assert doctor.look_at_mlflow(f"http://127.0.0.1:{port + 1 if port < 65535 else 1}").state == "missing"
        assert doctor.look_at_state_url(f"redis://127.0.0.1:{port}/0").state == "ok"
    assert doctor.look_at_state_url(f"redis://127.0.0.1:{port}/0").state == "missing"
    assert doctor.look_at_mlflow("").state == "ok"


@pytest.mark.parametrize("parts", [(), ("data",), ("data", "eval")])
def test_benchmark_data_is_optional(tmp_path, parts):
    for part in parts:
        (tmp_path / part).mkdir()
    assert doctor.look_at_shared(tmp_path).state == ("ok" if len(parts) == 2 else "optional")


def test_everything_needed_is_found_on_a_machine_that_runs_these_tests(tmp_path):
    found = doctor.examine(tmp_path, {}, tmp_path)
    assert {f.what: f.state for f in found if f.state == "missing"} == {}
    assert all(f.remedy for f in found if f.state != "ok")
