# %% [markdown]
# # A first session with Strongroom
# Run the cells one by one in an editor, or the whole file. Four variables say
# where to go: SERVER, CA, EMAIL and PASSWORD_FILE.

# %% Where the installation is
import hashlib
import io
import os
import pathlib
import tempfile
import time
import zipfile
from decimal import Decimal

from strongroom import Client, Invalid, Secret, Stale

server = os.environ["SERVER"]
ca = os.environ["CA"]
email = os.environ["EMAIL"]
password = Secret(pathlib.Path(os.environ["PASSWORD_FILE"]).read_text().rstrip("\n"))

# %% Sign in, and make an organization to throw away
session = Client(server, ca=ca).create_session(email=email, password=password)
me = Client(server, ca=ca, token=session.token)
sandbox = me.create_sandbox(name="A first session")
org = sandbox.org
print(f"{session.person.name} has {sandbox.name} until {sandbox.expires_at:%d %b, %H:%M} UTC")

# %% From here on a program works there, with the sandbox's key
client = Client(server, ca=ca, token=sandbox.key, purpose="analysis")

# %% A kind of one's own
batch = client.create_collection(
    org,
    kind="batch",
    title="Batches",
    schema={
        "type": "object",
        "required": ["label", "thickness"],
        "properties": {
            "label": {"type": "string", "maxLength": 100},
            "thickness": {"type": "number", "minimum": 0},
        },
        "additionalProperties": False,
    },
)
print(f"declared {batch.kind}, version {batch.version}")

# %% Records: numbers keep their digits
films = [
    client.create_record(org, "batch", content={"label": f"A-{n}", "thickness": Decimal(n) / 8})
    for n in range(1, 61)
]
odd = client.create_record(org, "batch", content={"label": "A-99", "thickness": Decimal("12.50")})
again = client.get_record(org, "batch", odd.id)
assert str(again.content["thickness"]) == "12.50", again.content
print(f"stored {len(films) + 1} records; the last one is {again.content['thickness']} nm thick")

# %% What does not fit is refused, and the place is named
try:
    client.create_record(org, "batch", content={"label": "A-100"})
except Invalid as problem:
    print("refused:", [(place.pointer, place.code) for place in problem.errors])
else:
    raise AssertionError("a record without its thickness was stored")

# %% A change says which version it is meant for
changed = client.update_record(org, "batch", odd.id, content={"label": "A-99", "thickness": Decimal("12.75")}, if_match=odd.version)
try:
    client.update_record(org, "batch", odd.id, content={"label": "lost", "thickness": 0}, if_match=odd.version)
except Stale:
    print(f"version {odd.version} is not the newest any more; {changed.version} is")
else:
    raise AssertionError("a change of an old version went through")

# %% A file goes up as a stream, and comes back the same
scan = b"angle,counts\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20000))
file = client.upload_file(org, io.BytesIO(scan), filename="scan of A-99, 2θ.csv", media_type="text/csv")
with client.download_file(org, file.id) as answer:
    back = answer.read()
assert hashlib.sha256(back).digest() == hashlib.sha256(scan).digest()
print(f"{file.name}: {file.size} bytes")

# %% Link the record to its file
client.create_link(org, "batch", odd.id, relation="related", to=file.id)
links = list(client.list_links(org, "batch", odd.id))
assert [link.to for link in links] == [file.id]

# %% A list asks for its pages by itself
labels = [record.content["label"] for record in client.list_records(org, "batch", limit=20)]
assert len(labels) == 61 and len(set(labels)) == 61
print(f"{len(labels)} records in pages of 20")

# %% Take everything out
folder = pathlib.Path(tempfile.mkdtemp())
with client.run_export(org, scope="organization") as answer:
    answer.save(folder / "export.zip")
with zipfile.ZipFile(folder / "export.zip") as archive:
    assert archive.testzip() is None
    lines = archive.read("records/batch/records.ndjson").decode().splitlines()
assert len(lines) == 61 and sum("12.75" in line for line in lines) == 1
print(f"exported {len(lines)} records to {folder / 'export.zip'}")

# %% Read back what was done: an event is durable before its request is answered,
# and gets its place in the log a moment later
for _ in range(100):
    events = [event.action for event in client.list_audit(org)]
    if "export.run" in events:
        break
    time.sleep(0.1)
assert "record.create" in events and "export.run" in events
print(f"{len(events)} events in the organization's log")

# %% End the sandbox before its time
me.end_sandbox(org)
print("done")
