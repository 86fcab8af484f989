"""Accounts and trips with FastAPI, fastapi-users and SQLAlchemy on SQLite, for benches/compare.

COMPARE_DATABASE is the path of the database. `python app.py` creates the tables. Each user sees only their own trips.
Each COMMIT is synced to the disk.
"""

import asyncio
import datetime
import os
import uuid
from typing import Annotated, Literal

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import JSON, ForeignKey, Index, String, event, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BCRYPT_COST = 12
# The tokens are valid for longer than all measurements take.
ACCESS_TTL_SECS = 86_400
SECRET = "only for measurements on the loopback interface"

# Another worker may hold the write lock, so a connection waits for it.
engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['COMPARE_DATABASE']}", connect_args={"timeout": 30})
new_session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def set_pragmas(connection, _):
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -32000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


def now():
    # SQLite stores no time zone.
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Trip(Base):
    __tablename__ = "trips"
    __table_args__ = (Index("trips_owner", "owner_id", "created_at"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(200))
    destination: Mapped[str | None] = mapped_column(String(200))
    start_date: Mapped[datetime.date | None]
    end_date: Mapped[datetime.date | None]
    time_zone: Mapped[str | None] = mapped_column(String(100))
    notes: Mapped[str | None] = mapped_column(String(10_000))
    status: Mapped[str] = mapped_column(String(20))
    stops: Mapped[list] = mapped_column(JSON)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime.datetime] = mapped_column(default=now, onupdate=now)


class NewTrip(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    destination: str | None = Field(None, max_length=200)
    start_date: datetime.date | None = None
    end_date: datetime.date | None = None
    time_zone: str | None = Field(None, max_length=100)
    notes: str | None = Field(None, max_length=10_000)
    status: Literal["planned", "active", "completed", "archived"] = "planned"
    stops: list[dict] = []


class TripBody(NewTrip):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    created_at: datetime.datetime
    updated_at: datetime.datetime


async def session():
    async with new_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def user_manager(opened: Session):
    helper = PasswordHelper(PasswordHash((BcryptHasher(rounds=BCRYPT_COST),)))
    yield UserManager(SQLAlchemyUserDatabase(opened, User), helper)


backend = AuthenticationBackend(
    name="jwt",
    transport=BearerTransport(tokenUrl="auth/jwt/login"),
    get_strategy=lambda: JWTStrategy(secret=SECRET, lifetime_seconds=ACCESS_TTL_SECS),
)
users = FastAPIUsers[User, uuid.UUID](user_manager, [backend])
Owner = Annotated[User, Depends(users.current_user(active=True))]

app = FastAPI()
app.include_router(users.get_auth_router(backend), prefix="/auth/jwt")
app.include_router(users.get_register_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserCreate), prefix="/auth")


@app.get("/trips")
async def list_trips(owner: Owner, opened: Session, limit: Annotated[int, Field(ge=1, le=100)] = 20) -> list[TripBody]:
    found = select(Trip).where(Trip.owner_id == owner.id).order_by(Trip.created_at.desc()).limit(limit)
    return (await opened.scalars(found)).all()


@app.post("/trips", status_code=201)
async def create_trip(trip: NewTrip, owner: Owner, opened: Session) -> TripBody:
    created = Trip(owner_id=owner.id, **trip.model_dump())
    opened.add(created)
    await opened.commit()
    return created


@app.get("/health")
async def health(opened: Session) -> None:
    await opened.execute(text("SELECT 1"))


@app.get("/pragmas")
async def pragmas(opened: Session) -> dict:
    """Returns the settings of a connection. All connections have the same settings."""
    return {name: await opened.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}


async def create_tables():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


if __name__ == "__main__":
    asyncio.run(create_tables())
