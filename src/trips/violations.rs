//! The rules that the fields of a trip and its stops can violate.

/// A rule that the fields of a trip violate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TripViolation {
    /// `end_date` is before `start_date`.
    #[error("End date must not be before the start date.")]
    EndsBeforeStart,
    /// `start_date` is outside the years 1 to 9999.
    #[error("Start date must be in the years 0001 to 9999.")]
    StartOutOfRange,
    /// `end_date` is outside the years 1 to 9999.
    #[error("End date must be in the years 0001 to 9999.")]
    EndOutOfRange,
    /// `time_zone` is not in the IANA database.
    #[error("Time zone must be a name of the IANA database, such as Europe/Lisbon.")]
    UnknownTimeZone,
    /// The stop at this index violates a rule.
    #[error("{1}")]
    Stop(usize, StopViolation),
    /// There are more than [`STOPS_MAX`](super::STOPS_MAX) stops.
    #[error("A trip can have at most {} stops. Remove some stops.", super::STOPS_MAX)]
    TooManyStops,
    /// The JSON of the stops has more than [`STOPS_BYTES_MAX`](super::STOPS_BYTES_MAX) bytes.
    #[error("The stops are too large: together they can have at most {} KiB as JSON. Shorten or remove some.", super::STOPS_BYTES_MAX / 1024)]
    StopsTooLarge,
}

/// A rule that a stop violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StopViolation {
    /// `departs_at` is before `arrives_at`.
    #[error("Departure time must not be before the arrival time.")]
    DepartsBeforeArrival,
    /// The stop has a latitude and no longitude.
    #[error("Longitude is required when latitude is given.")]
    LongitudeMissing,
    /// The stop has a longitude and no latitude.
    #[error("Latitude is required when longitude is given.")]
    LatitudeMissing,
    /// `time_zone` is not in the IANA database.
    #[error("Time zone must be a name of the IANA database, such as Europe/Lisbon.")]
    UnknownTimeZone,
    /// `arrives_at` is outside the years 1 to 9999.
    #[error("Arrival time must be in the years 0001 to 9999.")]
    ArrivalOutOfRange,
    /// `departs_at` is outside the years 1 to 9999.
    #[error("Departure time must be in the years 0001 to 9999.")]
    DepartureOutOfRange,
    /// Another stop of the trip has the same id.
    #[error("ID is already used by another stop of the trip. Use a new ID.")]
    DuplicateId,
}
