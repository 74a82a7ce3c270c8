//! Documents on their way to an index, in the form in which it takes them.
//!
//! A record is copied once: from the client's memory to what is sent. What else may be asked of it is read back from
//! there, or kept apart where that cannot be.
//!
//! Invariants: lines are in the order of their documents, without a gap; what is being sent is never changed.

use super::Stage;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Something to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'r> {
    /// Which of the pipeline's indices.
    pub stage: Stage,
    /// Unique in that index and the same whenever the record is read; at most [`super::MAX_ID_BYTES`].
    pub id: Cow<'r, str>,
    /// `@timestamp`, epoch milliseconds.
    pub timestamp_ms: i64,
    /// Decides on a dated index; epoch milliseconds. The same for every record of this id.
    pub period_ms: i64,
    /// The record as it came. Enriched and scores are JSON objects; raw is anything, `None` a tombstone.
    pub body: Option<Cow<'r, [u8]>>,
}

/// What an index wrote for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The body but for its first byte, which is an opening brace, and a line break behind it are the end of it.
    Spliced,
    /// Something else, from which the body cannot be told, or nothing.
    Otherwise,
}

/// Documents of one pipeline that go to the index together.
#[derive(Debug, Clone)]
pub struct Request {
    pipeline: Arc<str>,
    /// Shared with what is being sent.
    buffers: Arc<Buffers>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Default)]
struct Buffers {
    /// What is sent.
    lines: Vec<u8>,
    ids: String,
    /// Bodies that cannot be read back from their lines.
    bodies: Vec<u8>,
}

/// Where a document is in the buffers.
#[derive(Debug, Clone)]
struct Place {
    stage: Stage,
    timestamp_ms: i64,
    period_ms: i64,
    line: Range<usize>,
    id: Range<usize>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    /// In the lines, without its first byte.
    Spliced(Range<usize>),
    /// In the bodies.
    Apart(Range<usize>),
}

impl Request {
    /// Without documents.
    pub fn new(pipeline: Arc<str>) -> Self {
        Self { pipeline, buffers: Arc::default(), places: Vec::new() }
    }

    /// Without documents, with room for somewhat more than are here.
    pub fn successor(&self) -> Self {
        let room = |used: usize| used + used / 8;
        let Buffers { lines, ids, bodies } = &*self.buffers;
        let buffers = Buffers {
            lines: Vec::with_capacity(room(lines.len())),
            ids: String::with_capacity(room(ids.len())),
            bodies: Vec::with_capacity(room(bodies.len())),
        };
        let places = Vec::with_capacity(room(self.len()));
        Self { pipeline: Arc::clone(&self.pipeline), buffers: Arc::new(buffers), places }
    }

    /// The pipeline that the documents belong to.
    pub fn pipeline(&self) -> &Arc<str> {
        &self.pipeline
    }

    /// The number of documents.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when there is no document.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What its documents take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let Buffers { lines, ids, bodies } = &*self.buffers;
        lines.len() + ids.len() + bodies.len()
    }

    /// Puts a document behind the others; `write` appends what is sent for it.
    ///
    /// # Errors
    /// Those of `write`; then nothing has changed.
    pub fn add<E>(
        &mut self,
        document: &Document<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<Written, E>,
    ) -> Result<(), E> {
        let Buffers { lines, ids, bodies } = own(&mut self.buffers, &self.places);
        let (line, id) = (lines.len(), ids.len());
        let written = write(lines).inspect_err(|_| lines.truncate(line))?;
        ids.push_str(&document.id);
        let body = match (document.body.as_deref(), written) {
            (None, _) => Body::None,
            (Some(body), Written::Spliced) => {
                let end = lines.len() - 1;
                Body::Spliced(end + 1 - body.len()..end)
            }
            (Some(body), Written::Otherwise) => Body::Apart(append(bodies, body)),
        };
        let Document { stage, timestamp_ms, period_ms, .. } = *document;
        let (line, id) = (line..lines.len(), id..ids.len());
        self.places.push(Place { stage, timestamp_ms, period_ms, line, id, body });
        Ok(())
    }

    /// The document in this place.
    pub fn document(&self, place: usize) -> Document<'_> {
        let Place { stage, timestamp_ms, period_ms, body, .. } = &self.places[place];
        let body = match body {
            Body::None => None,
            Body::Spliced(rest) => Some(Cow::Owned([b"{", &self.buffers.lines[rest.clone()]].concat())),
            Body::Apart(whole) => Some(Cow::Borrowed(&self.buffers.bodies[whole.clone()])),
        };
        let id = Cow::Borrowed(self.id(place));
        Document { stage: *stage, id, timestamp_ms: *timestamp_ms, period_ms: *period_ms, body }
    }

    /// All documents, in their order.
    pub fn documents(&self) -> impl Iterator<Item = Document<'_>> {
        (0..self.len()).map(|place| self.document(place))
    }

    /// The stage of the document in this place.
    pub fn stage(&self, place: usize) -> Stage {
        self.places[place].stage
    }

    /// The id of the document in this place.
    pub fn id(&self, place: usize) -> &str {
        &self.buffers.ids[self.places[place].id.clone()]
    }

    /// The length of the body in this place, in bytes.
    pub fn body_len(&self, place: usize) -> usize {
        match &self.places[place].body {
            Body::None => 0,
            Body::Spliced(rest) => rest.len() + 1,
            Body::Apart(whole) => whole.len(),
        }
    }

    /// What is sent for the documents in these places.
    pub fn lines(&self, places: Range<usize>) -> Bytes {
        let places = &self.places[places];
        let range = match (places.first(), places.last()) {
            (Some(first), Some(last)) => first.line.start..last.line.end,
            _ => 0..0,
        };
        Bytes::from_owner(Shared(Arc::clone(&self.buffers))).slice(range)
    }

    /// Takes out the documents from this place on. They keep nothing of this request alive.
    pub fn split_off(&mut self, place: usize) -> Self {
        let rest = self.select(place..self.len());
        self.places.truncate(place);
        rest
    }

    /// Puts another request's documents behind the own ones.
    pub fn append(&mut self, other: Self) {
        // A few that wait do not hold the room of many.
        let Buffers { lines, .. } = &*other.buffers;
        if self.is_empty() && lines.len() >= lines.capacity() / 2 {
            *self = other;
        } else {
            self.copy_from(&other, 0..other.len());
        }
    }

    /// Copies of the documents in these places.
    pub fn select(&self, places: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self::new(Arc::clone(&self.pipeline));
        selected.copy_from(self, places);
        selected
    }

    /// Puts copies of another request's documents in these places behind the own ones.
    pub fn copy_from(&mut self, other: &Self, places: impl IntoIterator<Item = usize>) {
        let to = own(&mut self.buffers, &self.places);
        self.places.extend(places.into_iter().map(|place| other.places[place].moved(&other.buffers, to)));
    }
}

impl Place {
    /// Its place in other buffers, to which it is copied.
    fn moved(&self, from: &Buffers, to: &mut Buffers) -> Self {
        let line = append(&mut to.lines, &from.lines[self.line.clone()]);
        let id = to.ids.len();
        to.ids.push_str(&from.ids[self.id.clone()]);
        let body = match &self.body {
            Body::None => Body::None,
            Body::Spliced(rest) => {
                let start = line.start + (rest.start - self.line.start);
                Body::Spliced(start..start + rest.len())
            }
            Body::Apart(whole) => Body::Apart(append(&mut to.bodies, &from.bodies[whole.clone()])),
        };
        Self { line, id: id..to.ids.len(), body, ..*self }
    }
}

/// Buffers that may be changed, the lines to the end of the last place: copies if what they hold is being sent.
fn own<'b>(buffers: &'b mut Arc<Buffers>, places: &[Place]) -> &'b mut Buffers {
    let buffers = Arc::make_mut(buffers);
    buffers.lines.truncate(places.last().map_or(0, |last| last.line.end));
    buffers
}

fn append(to: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let start = to.len();
    to.extend_from_slice(bytes);
    start..to.len()
}

/// The lines, for as long as they are being sent.
struct Shared(Arc<Buffers>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (u16, Option<Vec<u8>>);

    /// What is sent is the id and the body without its first byte; an odd id has its body apart.
    fn add(request: &mut Request, (number, body): &Owned) {
        let id = number.to_string().into();
        let (timestamp_ms, period_ms) = (i64::from(*number), -i64::from(*number));
        let body = body.as_deref().map(Cow::Borrowed);
        let document = Document { stage: Stage::Raw, id, timestamp_ms, period_ms, body };
        let refused = request.add(&document, |out| {
            out.extend_from_slice(b"in vain");
            Err(())
        });
        assert_eq!(refused, Err(()));
        let Ok(()) = request.add(&document, |out| {
            out.extend_from_slice(&line(number, document.body.as_deref()));
            Ok::<_, std::convert::Infallible>(if number % 2 == 0 { Written::Spliced } else { Written::Otherwise })
        });
    }

    fn line(number: &u16, body: Option<&[u8]>) -> Vec<u8> {
        [number.to_string().as_bytes(), &body.unwrap_or(b"{")[1..], b"\n"].concat()
    }

    fn check(request: &Request, want: &[Owned]) {
        let got: Vec<Owned> = request
            .documents()
            .map(|d| {
                assert_eq!((d.timestamp_ms, d.period_ms), (d.id.parse().unwrap(), -d.timestamp_ms));
                (d.id.parse().unwrap(), d.body.map(Cow::into_owned))
            })
            .collect();
        assert_eq!(got, want);
        for (place, (number, body)) in want.iter().enumerate() {
            assert_eq!(request.lines(place..place + 1), line(number, body.as_deref()));
            assert_eq!(request.body_len(place), body.as_ref().map_or(0, Vec::len));
        }
        let all: Vec<u8> = want.iter().flat_map(|(number, body)| line(number, body.as_deref())).collect();
        assert_eq!(request.lines(0..want.len()), all);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(Owned),
        /// Takes out what is from there on, and keeps it.
        SplitOff(prop::sample::Index),
        /// Puts what was taken out behind.
        Append,
        Forget,
        /// Every second one.
        Select,
        Send,
        /// What was being sent has arrived.
        Sent,
        Successor,
    }

    fn step() -> impl Strategy<Value = Step> {
        let body =
            prop::option::of(prop::collection::vec(b'a'..=b'z', 0..5).prop_map(|rest| [vec![b'{'], rest].concat()));
        prop_oneof![
            8 => (any::<u16>(), body).prop_map(Step::Add),
            2 => any::<prop::sample::Index>().prop_map(Step::SplitOff),
            1 => Just(Step::Append),
            1 => Just(Step::Forget),
            1 => Just(Step::Select),
            1 => Just(Step::Send),
            1 => Just(Step::Sent),
            1 => Just(Step::Successor),
        ]
    }

    proptest! {
        #[test]
        fn documents_stay_what_they_are(steps in prop::collection::vec(step(), 0..40)) {
            let new = || Request::new("p".into());
            let (mut request, mut out, mut sending) = (new(), new(), None);
            let (mut want, mut want_out, mut want_sending): (Vec<Owned>, Vec<Owned>, Vec<u8>) = Default::default();
            for step in steps {
                match step {
                    Step::Add(document) => {
                        add(&mut request, &document);
                        want.push(document);
                    }
                    Step::SplitOff(index) => {
                        let place = index.index(want.len() + 1);
                        (out, want_out) = (request.split_off(place), want.split_off(place));
                        prop_assert_eq!(out.buffers.lines.len(), out.lines(0..out.len()).len(), "nothing else is kept");
                    }
                    Step::Append => {
                        request.append(std::mem::replace(&mut out, new()));
                        want.append(&mut want_out);
                    }
                    Step::Forget => (out, want_out) = (new(), Vec::new()),
                    Step::Send => {
                        let lines = request.lines(0..request.len());
                        want_sending = lines.to_vec();
                        sending = Some(lines);
                    }
                    Step::Sent => sending = None,
                    Step::Successor => {
                        request = request.successor();
                        want.clear();
                    }
                    Step::Select => {
                        let places: Vec<usize> = (0..want.len()).step_by(2).collect();
                        want = places.iter().map(|place| want[*place].clone()).collect();
                        request = request.select(places);
                    }
                }
                check(&request, &want);
                check(&out, &want_out);
                prop_assert!(sending.as_ref().is_none_or(|lines| *lines == want_sending));
            }
        }
    }
}
