"""The structlog and loguru seams: what is written to a log, by whichever of their loggers."""

from __future__ import annotations

import inspect

import loguru
import loguru._handler
import pytest
import structlog
import structlog._base
import structlog.stdlib
import structlog.testing

from runtime_project import Project, blocks, line_of, surface_tests

APP = """
    import asyncio
    import io
    import logging
    from concurrent.futures import ThreadPoolExecutor

    import structlog
    from loguru import logger as loguru
    from structlog import get_logger as early
    from boundlint.boundary import carry_context

    def without_secrets(logger, name, event):
        return {key: value for key, value in event.items() if key != "secret"}

    def drop(logger, name, event):
        raise structlog.DropEvent

    class Sub(structlog.stdlib.BoundLogger):
        pass

    written = io.StringIO()
    loguru.remove()
    loguru.add(written, level="INFO", filter=lambda record: record["extra"].get("audience") != "nobody")
    logging.getLogger("app").propagate = False

    def made(wrapper=None, last=structlog.processors.JSONRenderer()):
        return structlog.wrap_logger(
            structlog.PrintLogger(written),
            processors=[
                structlog.contextvars.merge_contextvars,
                without_secrets,
                structlog.processors.format_exc_info,
                last,
            ],
            wrapper_class=wrapper,
        )

    def standard(wrapper=Sub):
        return structlog.wrap_logger(
            logging.getLogger("app"),
            processors=[structlog.stdlib.render_to_log_kwargs],
            wrapper_class=wrapper,
        )

    def info(value):
        made().info("answered", note=value)

    def said_in_context(value):
        with structlog.contextvars.bound_contextvars(note=value):
            made().info("x")

    def in_thread(function, *args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(function), *args).result()

    def failed(log, value):
        try:
            raise ValueError(value)
        except ValueError:
            log.exception("failed")

    def swallowed(value):
        try:
            loguru.info(value)
        except Exception:
            pass

    filtering = structlog.make_filtering_bound_logger(logging.INFO)
"""
WRITTEN = {
    "event": "code.made().info(value)",
    "field": "code.info(value)",
    "bound": "code.made().bind(note=value).error('x')",
    "context": "code.said_in_context(value)",
    "filtering": "code.made(code.filtering).warning('x', note=[value])",
    "awaited": "code.asyncio.run(code.made(code.filtering).ainfo('x', note=value))",
    "standard": "code.standard().info('x', note=value)",
    "standard arguments": "code.standard().info('said %s', value)",
    "early": "code.early().info(value)",
    "exception": "code.failed(code.made(), value)",
    "thread": "code.in_thread(code.info, value)",
    "loguru": "code.loguru.info(value)",
    "loguru argument": "code.loguru.info('said {}', value)",
    "loguru bound": "code.loguru.bind(note=value).info('x')",
    "loguru context": "exec('with code.loguru.contextualize(note=value): code.loguru.info(1)')",
    "loguru exception": "code.failed(code.loguru, value)",
    "loguru lazy": "code.loguru.opt(lazy=True).info('{}', lambda: value)",
    "loguru patched": "code.loguru.patch(lambda record: record.update(message=value)).info('x')",
    "loguru thread": "code.in_thread(code.loguru.info, value)",
    "swallowed": "code.swallowed(value)",
}
NOT_WRITTEN = {
    "processed away": "code.made().info('x', secret=value)",
    "dropped": "code.made(last=code.drop).info(value)",
    "below the level": "code.made(code.filtering).debug(value)",
    "loguru below the level": "code.loguru.debug(value)",
    "loguru filtered": "code.loguru.bind(audience='nobody').info(value)",
}


def test_what_is_written(project: Project) -> None:
    result = project(APP, surface_tests(WRITTEN), bare=True)
    result.assert_outcomes(failed=len(WRITTEN))
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == ["BND701 another tenant's data in the log"] * len(WRITTEN)
    for line in (
        f"BND701 * — app/code.py:{line_of(APP, 'made().info')} in info()",
        "  operation  structlog.stdlib.BoundLogger.info  value 'qzcny???…'*",
        "  operation  loguru._logger.Logger.error  value 'qzcny???…'*",
        "*it holds a value of notes record-1 body of tenant 'northstar-dental-2'*",
        "*caught this exception; the test would have passed",
    ):
        result.stdout.fnmatch_lines([line])
    result.stdout.no_fnmatch_line("*may churn*")


def test_what_is_not_written_or_the_tenants_own(project: Project) -> None:
    result = project(APP, surface_tests(NOT_WRITTEN), bare=True)
    result.assert_outcomes(passed=len(NOT_WRITTEN))
    result = project(APP, surface_tests(WRITTEN, whose="first"), "-n2", bare=True)
    result.assert_outcomes(passed=len(WRITTEN))


def test_a_record_that_logging_gets_is_one(project: Project) -> None:
    body = surface_tests({"standard": "code.standard().info('x', note=value)"})
    result = project(APP, body, flag="--enforce-boundary=report", bare=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["structlog  0 checked, 2 bled"])  # two marks of one value
    result.stdout.no_fnmatch_line("logging *")


def test_a_processor_that_reads_is_watched(project: Project) -> None:
    app = """
        import fakeredis
        import structlog
        store = fakeredis.FakeRedis()
        def enrich(logger, name, event):
            return event | {"plan": store.get("plan")}
        log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[enrich])
    """
    result = project(app, "def test_it():\n    code.log.info('x')\n")
    result.assert_outcomes(failed=1)
    assert blocks(result)[0].startswith("BND201 unscoped memory read — app/code.py:")


def test_the_place_that_logs_stays_the_applications(project: Project) -> None:
    app = """
        import logging
        import structlog
        from loguru import logger

        Place = structlog.processors.CallsiteParameter
        place = structlog.processors.CallsiteParameterAdder({Place.MODULE, Place.FUNC_NAME})

        def say():
            return structlog.wrap_logger(structlog.ReturnLogger(), processors=[place]).info("x")

        def say_to_logging():
            structlog.wrap_logger(
                structlog.stdlib.LoggerFactory()("of this test alone"), processors=[structlog.stdlib.render_to_log_kwargs]
            ).warning("x")

        def say_to_loguru(places):
            sink = logger.add(places.append, format="{module}.{function}")
            logger.info("x")
            logger.remove(sink)
    """
    body = """
        def test_it(caplog):
            caplog.set_level("INFO")
            _, said = code.say()
            assert (said["module"], said["func_name"]) == ("code", "say")
            code.say_to_logging()
            assert [(r.module, r.funcName) for r in caplog.records] == [("code", "say_to_logging")]
            places = []
            code.say_to_loguru(places)
            assert places == ["code.say_to_loguru\\n"]
    """
    project(app, body).assert_outcomes(passed=1)


def test_contract(project: Project) -> None:
    """What the seams replace exists, is what they were written for, and is back after a run."""
    base, handler = structlog._base.BoundLoggerBase, loguru._handler.Handler
    assert list(inspect.signature(base._process_event).parameters)[1] == "method_name"
    assert list(inspect.signature(handler.emit).parameters)[1] == "record"
    assert "_process_event" not in vars(structlog.stdlib.BoundLogger)
    number = loguru.logger.add(lambda message: None, level="INFO")
    made = loguru.logger._core.handlers[number]  # type: ignore[attr-defined]
    assert (made._levelno, made._filter) == (20, None)
    loguru.logger.remove(number)
    before = [dict(vars(base)), dict(vars(handler))]
    project("import structlog, loguru", "def test_it():\n    assert code\n").assert_outcomes(passed=1)
    assert [dict(vars(base)), dict(vars(handler))] == before


@pytest.mark.parametrize(
    ("name", "module", "text"),
    [
        ("structlog", "_base", "class BoundLoggerBase: ...\n"),
        ("loguru", "_handler", "class Handler: ...\n"),
    ],
)
def test_changed_internals_end_the_run(project: Project, name: str, module: str, text: str) -> None:
    files = {f"{name}/__init__.py": "", f"{name}/{module}.py": text}
    result = project(f"import {name}.{module}", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{name} * not found; enforcement would be incomplete*"])
