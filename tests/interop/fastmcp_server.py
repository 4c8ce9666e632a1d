"""A FastMCP server with a few tools: over stdio, or with a port as its only argument over streamable HTTP."""

import asyncio
import sys

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError

mcp = FastMCP("interop")


@mcp.tool
def echo(message: str) -> str:
    """Returns the message."""
    return message


@mcp.tool
def add(a: int, b: int) -> int:
    """Returns the sum."""
    return a + b


@mcp.tool
def fail() -> str:
    """Fails."""
    raise ToolError("it did not work")


@mcp.tool
async def count(steps: int, context: Context) -> str:
    """Reports every step."""
    for step in range(1, steps + 1):
        await context.report_progress(step, steps)
        await asyncio.sleep(0.01)
    return f"counted to {steps}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
    else:
        mcp.run(show_banner=False)
