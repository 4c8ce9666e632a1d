"""A server on FastMCP, with what every server of the interop tests offers (see README.md).

`fastmcp_server.py [PORT]`: over stdio, or with a port over Streamable HTTP at `/mcp`. It speaks both eras.
"""

import asyncio
import sys

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError

NOTE = "note://today"
DAYS = ["monday", "saturday", "sunday"]
NAMES = ["Ada", "Alan", "Grace"]

mcp = FastMCP("fastmcp-interop")
touched = 0
cancelled = 0


@mcp.tool
def echo(message: str) -> str:
    return message


@mcp.tool
def add(a: int, b: int) -> int:
    return a + b


@mcp.tool
def fail() -> str:
    raise ToolError("it did not work")


@mcp.tool
async def count(steps: int, context: Context) -> str:
    for step in range(1, steps + 1):
        await context.report_progress(step)
    return f"counted to {steps}"


@mcp.tool
async def wait(context: Context) -> str:
    global cancelled
    await context.report_progress(1)
    try:
        await asyncio.Event().wait()
    finally:
        cancelled += 1


@mcp.tool
def cancellations() -> str:
    return str(cancelled)


@mcp.tool
async def ask(context: Context):
    answers = context.input_responses
    if answers is None:
        properties = {"name": {"type": "string"}, "age": {"type": "integer", "default": 42}}
        who = mcp_types.ElicitRequest(
            params=mcp_types.ElicitRequestFormParams(
                message="Who are you?",
                requested_schema={"type": "object", "properties": properties, "required": ["name"]},
            )
        )
        return mcp_types.InputRequiredResult(input_requests={"who": who}, request_state="asked")
    answer = answers["who"]
    if answer.action != "accept":
        return answer.action
    return f"{answer.content['name']} is {answer.content['age']}"


@mcp.tool
async def grow(context: Context) -> str:
    mcp.tool(grown)
    mcp.resource("note://grown")(grown)
    mcp.prompt(grown)
    # The modern era has them on the stream of this call: FastMCP serves no subscriptions.
    await context.send_notification(mcp_types.ToolListChangedNotification())
    await context.send_notification(mcp_types.PromptListChangedNotification())
    await context.send_notification(mcp_types.ResourceListChangedNotification())
    return "grown"


def grown() -> str:
    return "I am new"


@mcp.tool
def touch() -> str:
    global touched
    touched += 1
    return "touched"


@mcp.resource(NOTE)
def today() -> str:
    return f"touched {touched} times"


@mcp.resource("note://days/{day}")
def day(day: str) -> str:
    return f"nothing on {day}"


@mcp.prompt
def greet(name: str) -> str:
    return f"Say hello to {name}."


@mcp.completion
def complete(reference, argument, context):
    known = NAMES if isinstance(reference, mcp_types.PromptReference) else DAYS
    return [value for value in known if value.startswith(argument.value)]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
    else:
        mcp.run(show_banner=False)
