"""Object stores of the suite's own, on free loopback ports: SeaweedFS as S3, Azurite as Azure Blob."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .server import free_port

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60
AZURITE = "azurite@3.35.0"


class ObjectStore:
    """A process that can be killed and comes back with what it holds, on the same ports."""

    bucket = "images"
    # As a power cut would.
    ending = signal.SIGKILL

    def __init__(self, folder):
        self.folder, self.process = Path(folder), None
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        self.start()
        self.create_bucket()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder,
                                            start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            assert self.process.poll() is None, f"it ended:\n{(self.folder / 'log').read_text()[-2000:]}"
            assert time.monotonic() < deadline, "the object store does not answer"
            time.sleep(0.3)

    def kill(self):
        """With what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, self.ending)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def answers(self):
        try:
            self.list_buckets()
        except Exception:
            return False
        return True


class SeaweedFs(ObjectStore):
    name = "S3"
    access_key, secret_key, suite_key = "radiant", "a-secret-of-the-server", "a-secret-of-the-suite"

    @staticmethod
    def program():
        beside = Path(sys.executable).parent / "weed"
        return str(beside) if beside.exists() else shutil.which("weed")

    def __init__(self, folder):
        super().__init__(folder)
        self.ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self.grpc = {name: free_port() for name in self.ports}
        # Who may do everything gets a bucket that is not there made for him.
        identities = [identity("suite", self.suite_key, ["Admin"]),
                      identity(self.access_key, self.secret_key, ["Read", "Write", "List"])]
        (self.folder / "keys.json").write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir(exist_ok=True)
        self.endpoint = f"http://127.0.0.1:{self.ports['s3']}"

    def command(self):
        ports = [f"-{name}.port={port}" for name, port in self.ports.items()]
        grpc = [f"-{name}.port.grpc={port}" for name, port in self.grpc.items()]
        unused = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        return [self.program(), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}",
                "-filer", "-s3", f"-s3.config={self.folder / 'keys.json'}", "-volume.max=200", *unused, *ports, *grpc]

    def client(self):
        import boto3
        from botocore.config import Config

        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id="suite",
                            aws_secret_access_key=self.suite_key, region_name="us-east-1",
                            config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 0}))

    def list_buckets(self):
        self.client().list_buckets()

    def create_bucket(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.client().create_bucket(Bucket=self.bucket)
                # A volume is grown for the first object: until then writes are refused.
                self.client().put_object(Bucket=self.bucket, Key="first", Body=b"x" * 100_000)
                self.client().delete_object(Bucket=self.bucket, Key="first")
                return
            except Exception:
                assert time.monotonic() < deadline, "no bucket can be made"
                time.sleep(1)

    def objects(self):
        """Name to size."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def keys(self, prefix):
        return {"storage.url": f"s3://{self.bucket}/{prefix}", "storage.endpoint": self.endpoint,
                "storage.s3.access_key_id": self.access_key, "storage.s3.secret_access_key": self.secret_key}

    def wrong_keys(self, prefix):
        return self.keys(prefix) | {"storage.s3.secret_access_key": "a-secret-of-somebody-else"}


def identity(name, secret, actions):
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}


class Azurite(ObjectStore):
    name = "Azure"
    # It writes its list of blobs every few seconds: a kill loses what it has acknowledged, whoever sent it.
    ending = signal.SIGTERM
    account, secret_key = "clinic", "YS1rZXktb2YtdGhlLWFjY291bnQtb2YtdGhlLXN1aXRl"

    @staticmethod
    def program():
        return shutil.which("npm")

    def __init__(self, folder):
        super().__init__(folder)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/{self.account}"
        os.environ["AZURITE_ACCOUNTS"] = f"{self.account}:{self.secret_key}"
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(self.folder), AZURITE]
        subprocess.run(install, check=True, timeout=600)

    def command(self):
        program = self.folder / "node_modules/.bin/azurite-blob"
        return [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--skipApiVersionCheck",
                "--disableTelemetry", "--silent", "--location", str(self.folder / "data")]

    def service(self):
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint, credential={"account_name": self.account, "account_key": self.secret_key},
                                 retry_total=0, connection_timeout=5)

    def list_buckets(self):
        list(self.service().list_containers())

    def create_bucket(self):
        self.service().create_container(self.bucket)

    def objects(self):
        """Name to size."""
        return {blob.name: blob.size for blob in self.service().get_container_client(self.bucket).list_blobs()}

    def keys(self, prefix):
        return {"storage.url": f"az://{self.bucket}/{prefix}", "storage.endpoint": self.endpoint,
                "storage.azure.account": self.account, "storage.azure.access_key": self.secret_key}

    def wrong_keys(self, prefix):
        return self.keys(prefix) | {"storage.azure.access_key": "YS1rZXktb2Ytc29tZWJvZHktZWxzZQ=="}
